//===- Session.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Session.h"

#include "runtime/core/Binding.h"
#include "runtime/core/Clock.h"
#include "runtime/core/Convert.h"
#include "runtime/core/Executor.h"
#include "runtime/core/LossCurve.h"
#include "runtime/core/RandomTensors.h"
#include "runtime/core/TensorFile.h"
#include "runtime/core/Training.h"
#include "runtime/core/Transfer.h"
#include "runtime/core/Workspace.h"
#include "runtime/plan/Verify.h"

#include <algorithm>
#include <cstdio>

namespace evo {

namespace {

/// Of the host, for random inputs, which programs write over: to draw them takes longer than many a
/// step. Where the host is the device the plan says what memory there is, and one run draws once.
int64_t mostDrawnBytes(const Backend &backend, const RunOptions &options) {
  const bool isOnce = options.warmup + std::max(options.iterations, options.steps) <= 1;
  return isOnce || backend.name() == "cpu" ? 0 : int64_t{4} << 30;
}

Status unsupported(const std::string &message) {
  return Status::error(ErrorCode::Unsupported, message);
}

Status checkRunnable(const plan::Plan &plan, const Backend &backend) {
  if (plan.devices != 1)
    return unsupported("expected a plan for 1 device, got " + std::to_string(plan.devices) +
                       ": this version runs on one device");
  if (!backend.supports(plan.precision)) {
    std::string list;
    for (plan::Precision p : {plan::Precision::Fp64, plan::Precision::Fp32, plan::Precision::Tf32,
                              plan::Precision::Bf16, plan::Precision::Fp16})
      if (backend.supports(p))
        list += (list.empty() ? "" : ", ") + std::string(plan::precisionName(p));
    return unsupported("backend " + backend.name() + ": expected a plan in " + list + ", got " +
                       std::string(plan::precisionName(plan.precision)) +
                       " (compile the plan with --dtype)");
  }
  return {};
}

/// The stages of a run and what they share.
class Session {
public:
  Session(const plan::Plan &plan, Backend &backend, const RunOptions &options)
      : plan(plan), backend(backend),
        options(options), upload{options.threads, options.checkFinite},
        drawn(mostDrawnBytes(backend, options)) {}

  Result<RunReport> run() {
    double start = nowMs();
    EVO_TRY(plan::checkPlan(plan).withContext(options.planPath));
    EVO_TRY(checkRunnable(plan, backend));
    followProducts();
    EVO_TRY(bind());
    EVO_TRY(openFiles());
    EVO_TRY(allocate());
    EVO_ASSIGN(executor, Executor::create(plan, backend, arena->data(), staticPart->data()));
    EVO_TRY(rehearseOptimizer());
    EVO_TRY(training->attach(plan, backend, arena->data(), staticPart->data()));
    EVO_TRY(options.loadState.empty() ? uploadWeights() : training->load());
    measureMemory();
    report.setupMs = nowMs() - start;
    EVO_TRY(options.steps > 0 ? train() : iterate());
    EVO_TRY(writeFiles());
    return report;
  }

private:
  void followProducts();
  Status bind();
  Result<std::vector<BoundInput>> bindProgram(const plan::Program &program, const std::string &file,
                                              const std::string &prefix,
                                              std::vector<HostTensor> &tensors);
  Status openFiles();
  Status allocate();
  Status rehearseOptimizer();
  Status uploadWeights();
  Status restore(const std::vector<BoundInput> &bound, const std::string &file);
  Status runProgram(plan::Phase phase, const RunHooks &hooks);
  Status runPrograms(const RunHooks &hooks, bool last);
  Status keepOutputs();
  Result<std::vector<TensorToWrite>> outputTensors(const plan::Program &program, size_t dropped);
  Result<std::vector<TensorToWrite>> gradientTensors();
  RunHooks hooksFor(const std::string &what, bool last);
  Status iterate();
  Status train();
  Status writeFiles();
  void measureMemory();
  void fillReport();

  const plan::Plan &plan;
  Backend &backend;
  const RunOptions &options;
  UploadOptions upload;
  const plan::Program *forward = nullptr, *backward = nullptr;
  std::vector<HostTensor> weightTensors, inputTensors, cotangentTensors;
  std::vector<WeightSlot> slots;
  WeightBinding weights;
  std::vector<BoundInput> inputs, cotangents;
  std::optional<OutputFile> outputFile, gradientFile, stateFile, curveFile, jsonFile, traceFile;
  TensorFormat outputFormat = TensorFormat::Safetensors;
  TensorFormat gradientFormat = TensorFormat::Safetensors;
  KeptElements drawn; ///< random inputs
  std::unique_ptr<DeviceMemory> arena, staticPart;
  std::unique_ptr<Executor> executor;
  std::optional<Training> training;
  std::vector<TensorToWrite> keptOutputs; ///< on the host, where a program behind may write there
  Trace trace;
  RunReport report;
  void addIteration() {
    report.iterationsMs.push_back(elapsedMs);
    report.threadMs.push_back(threadMs);
  }
  double elapsedMs = 0; ///< of the last iteration
  double threadMs = 0;  ///< of it, what this thread spent on a processor
};

/// Before the first launch, whose products are computed so for the whole run.
void Session::followProducts() {
  ProductLibrary *library = backend.productLibrary();
  if (!library)
    return;
  library->follow(plan.products);
  report.products = plan::whyNotFollowed(plan.products, library->name());
}

Status Session::bind() {
  for (const plan::Program &program : plan.programs) {
    if (program.phase == plan::Phase::Forward)
      forward = &program;
    if (program.phase == plan::Phase::Backward)
      backward = &program;
  }
  if (!forward)
    return Status::error(ErrorCode::InvalidPlan,
                         "expected a forward program in the plan, got none");
  EVO_ASSIGN(slots, weightSlots(plan));
  if (!options.weights.empty()) {
    EVO_ASSIGN(weightTensors, readTensorFile(options.weights));
    EVO_ASSIGN(weights, bindWeights(slots, weightTensors, options.weightsPrefix, options.weights));
  }
  EVO_ASSIGN(inputs, bindProgram(*forward, options.inputs, "", inputTensors));
  Result<Training> made = Training::create(plan, options);
  if (!made)
    return made.status();
  training.emplace(*std::move(made));
  if (!backward)
    return {};
  EVO_ASSIGN(cotangents, bindProgram(*backward, options.cotangents, "d", cotangentTensors));
  for (const std::string &name : backward->outputs)
    if (!name.starts_with("d"))
      return Status::error(ErrorCode::InvalidPlan,
                           "program output '" + name +
                               "': expected the gradient of a stream, 'd' and its name");
  return {};
}

/// Binds a program's inputs to the tensors of a file, or to nothing where no file is given. The
/// file names its tensors without `prefix`, which the plan's have.
Result<std::vector<BoundInput>> Session::bindProgram(const plan::Program &program,
                                                     const std::string &file,
                                                     const std::string &prefix,
                                                     std::vector<HostTensor> &tensors) {
  if (!file.empty()) {
    EVO_ASSIGN(tensors, readTensorFile(file));
    return bindInputs(plan, program.inputs, tensors, file, prefix);
  }
  std::vector<BoundInput> bound;
  for (const std::string &name : program.inputs) {
    bound.push_back({findTensor(plan, name), nullptr});
    if (!bound.back().tensor)
      return Status::error(ErrorCode::InvalidPlan,
                           "program input '" + name + "': expected a tensor of the plan, got none");
  }
  return bound;
}

Status Session::openFiles() {
  std::vector<std::string> paths;
  auto open = [&](const std::string &path, std::optional<OutputFile> &file) -> Status {
    if (path.empty())
      return {};
    if (std::any_of(paths.begin(), paths.end(),
                    [&](const std::string &other) { return isSameFile(other, path); }))
      return Status::error(ErrorCode::Usage,
                           "expected different files to write, got '" + path + "' twice");
    paths.push_back(path);
    Result<OutputFile> created = OutputFile::create(path);
    if (!created)
      return created.status();
    file.emplace(*std::move(created));
    return {};
  };
  if (!options.outputs.empty()) {
    EVO_ASSIGN(outputFormat, tensorFormatOf(options.outputs));
  }
  if (!options.gradients.empty()) {
    EVO_ASSIGN(gradientFormat, tensorFormatOf(options.gradients));
  }
  if (!options.saveState.empty() && !options.saveState.ends_with(".safetensors"))
    return Status::error(ErrorCode::InvalidInput,
                         "expected a state file whose name ends with .safetensors, got '" +
                             options.saveState + "'");
  if (!options.lossCurve.empty() && !options.lossCurve.ends_with(".svg"))
    return Status::error(ErrorCode::InvalidInput,
                         "expected a loss curve whose name ends with .svg, got '" +
                             options.lossCurve + "'");
  EVO_TRY(open(options.saveState, stateFile));
  EVO_TRY(open(options.lossCurve, curveFile));
  EVO_TRY(open(options.outputs, outputFile));
  EVO_TRY(open(options.gradients, gradientFile));
  EVO_TRY(open(options.json, jsonFile));
  return open(options.trace, traceFile);
}

Status Session::allocate() {
  int64_t weightBytes = 0;
  if (__builtin_mul_overflow(plan.weightBlockBytes, plan.model.blocks, &weightBytes) ||
      weightBytes > plan.summary.staticBytes)
    return Status::error(ErrorCode::InvalidPlan, "expected static bytes that hold the weights of " +
                                                     std::to_string(plan.model.blocks) +
                                                     " blocks, got " +
                                                     std::to_string(plan.summary.staticBytes));
  Result<std::unique_ptr<DeviceMemory>> allocated = backend.allocate(plan.arenaBytes);
  if (!allocated)
    return allocated.status().withContext("arena of " + std::to_string(plan.arenaBytes) + " bytes");
  arena = *std::move(allocated);
  allocated = backend.allocate(plan.summary.staticBytes);
  if (!allocated)
    return allocated.status().withContext("static part of " +
                                          std::to_string(plan.summary.staticBytes) + " bytes");
  staticPart = *std::move(allocated);
  EVO_TRY(lendWorkspace(backend, plan, arena->data()).withContext(options.planPath));
  // A read of what nothing wrote shows in the outputs.
  return backend.name() == "cpu" ? poison(backend, *arena) : Status::success();
}

/// A device takes memory when a program runs first. Warm-ups leave the weights as they are, so the
/// optimizer does it before there are any.
Status Session::rehearseOptimizer() {
  if (options.steps == 0 || !backend.canRecord())
    return {};
  return executor->run(plan::Phase::Optimizer, RunHooks());
}

Status Session::uploadWeights() {
  for (size_t i = 0; i < slots.size(); ++i) {
    const WeightSlot &slot = slots[i];
    const HostTensor *source = weights.sources.empty() ? nullptr : weights.sources[i];
    auto readerOf = [&](plan::DType type) {
      return source ? convertingReader(*source, type)
                    : randomReader(options.randomSeed, slot.name,
                                   parameterDistribution(slot.parameter, slot.shape), type);
    };
    Status status =
        uploadElements(backend, staticPart->data() + slot.offset, slot.dtype, slot.shape,
                       source ? source->name : slot.name, readerOf(slot.dtype), upload);
    if (status.ok())
      status = training->setMaster(i, readerOf(plan::statisticType(plan.precision)));
    EVO_TRY(source ? status.withContext(options.weights) : status);
  }
  // The files' pages are not needed again.
  weightTensors.clear();
  return {};
}

Status Session::restore(const std::vector<BoundInput> &bound, const std::string &file) {
  for (const BoundInput &input : bound) {
    const plan::Tensor &tensor = *input.tensor;
    ElementReader read;
    if (input.source) {
      read = convertingReader(*input.source, tensor.dtype);
    } else if (isMask(tensor.name)) {
      read = onesReader(tensor.dtype);
    } else {
      EVO_ASSIGN(read, drawn.reader(
                           &tensor, randomReader(options.randomSeed, tensor.name, {}, tensor.dtype),
                           tensor.dtype, elementCount(tensor.shape).value_or(0), options.threads));
    }
    const std::string &name = input.source ? input.source->name : tensor.name;
    Status status = uploadElements(backend, arena->data() + tensor.offset, tensor.dtype,
                                   tensor.shape, name, read, upload);
    EVO_TRY(input.source ? status.withContext(file) : status);
  }
  return backend.synchronize();
}

/// Adds to the time of the iteration; what is done between programs is not timed.
Status Session::runProgram(plan::Phase phase, const RunHooks &hooks) {
  double start = nowMs();
  int64_t threadStart = threadNs();
  EVO_TRY(executor->run(phase, hooks));
  elapsedMs += nowMs() - start;
  threadMs += static_cast<double>(threadNs() - threadStart) / 1e6;
  return {};
}

/// Forward, and in training backward from the cotangents.
Status Session::runPrograms(const RunHooks &hooks, bool last) {
  elapsedMs = threadMs = 0;
  EVO_TRY(restore(inputs, options.inputs));
  EVO_TRY(runProgram(plan::Phase::Forward, hooks));
  if (!backward)
    return {};
  if (last && outputFile)
    EVO_TRY(keepOutputs());
  EVO_TRY(training->hasLoss() ? training->computeCotangents(backend, arena->data())
                              : restore(cotangents, options.cotangents));
  return runProgram(plan::Phase::Backward, hooks);
}

/// Copies the outputs before anything is written to where they may lie.
Status Session::keepOutputs() {
  EVO_ASSIGN(std::vector<TensorToWrite> tensors, outputTensors(*forward, 0));
  for (const TensorToWrite &tensor : tensors) {
    HostTensor copy{tensor.name, tensor.dtype, tensor.shape, {}, {}};
    int64_t count = elementCount(tensor.shape).value_or(0);
    auto bytes = std::make_shared<std::vector<std::byte>>(
        static_cast<size_t>(count * hostTypeBytes(tensor.dtype)));
    EVO_TRY(tensor.read(0, count, bytes->data()));
    copy.bytes = *bytes;
    copy.owner = bytes;
    keptOutputs.push_back(tensorToWrite(std::move(copy)));
  }
  return {};
}

RunHooks Session::hooksFor(const std::string &what, bool last) {
  RunHooks hooks;
  hooks.dropoutSeed = training->dropoutSeed();
  hooks.step = training->stepIndex();
  if (options.onBlock)
    hooks.onBlock = [this, what](int64_t done, int64_t blocks) {
      options.onBlock(what, done, blocks);
    };
  if (last && traceFile)
    hooks.trace = &trace;
  return hooks;
}

Status Session::iterate() {
  int64_t total = options.warmup + options.iterations;
  for (int64_t i = 0; i < total; ++i) {
    bool warm = i < options.warmup, last = i + 1 == total;
    std::string what =
        warm ? "warm-up " + std::to_string(i + 1) + "/" + std::to_string(options.warmup)
             : "iteration " + std::to_string(i - options.warmup + 1) + "/" +
                   std::to_string(options.iterations);
    EVO_TRY(runPrograms(hooksFor(what, last), last));
    measureMemory();
    if (!warm)
      addIteration();
  }
  return {};
}

/// Every step is timed; a warm-up leaves the weights as they are.
Status Session::train() {
  for (int64_t i = 0; i < options.warmup; ++i) {
    EVO_TRY(runPrograms(
        hooksFor("warm-up " + std::to_string(i + 1) + "/" + std::to_string(options.warmup), false),
        false));
    measureMemory();
  }
  double start = nowMs();
  for (int64_t i = 0; i < options.steps; ++i) {
    bool last = i + 1 == options.steps;
    std::string what = "step " + std::to_string(i + 1) + "/" + std::to_string(options.steps);
    if (i > 0) {
      char text[96];
      std::snprintf(text, sizeof text, ", loss %.6g, %.3g steps/s", training->steps().back().loss,
                    1000 * static_cast<double>(i) / std::max(nowMs() - start, 1e-6));
      what += text;
    }
    RunHooks hooks = hooksFor(what, last);
    EVO_TRY(runPrograms(hooks, last));
    EVO_TRY(runProgram(plan::Phase::Optimizer, hooks));
    EVO_TRY(training->finishStep());
    measureMemory();
    addIteration();
  }
  return {};
}

/// Of the programs that an iteration or a step runs.
static double predictedMs(const plan::Plan &plan, bool optimizer) {
  if (optimizer || !plan.optimizer)
    return plan.summary.predictedMs;
  double ns = 0;
  for (const plan::Program &program : plan.programs)
    for (const plan::BlockRun &run : program.runs)
      for (const plan::Call &call : run.calls)
        if (program.phase != plan::Phase::Optimizer)
          ns += static_cast<double>(run.blockCount) *
                static_cast<double>(plan.procedures[static_cast<size_t>(call.procedure)].costNs);
  return ns / 1e6;
}

/// Between iterations, never while one is timed.
void Session::measureMemory() {
  if (std::optional<int64_t> taken = backend.lostBytes())
    report.takenBytes.push_back(*taken);
}

void Session::fillReport() {
  report.model = plan.model;
  report.summary = plan.summary;
  report.predictedMs = predictedMs(plan, options.steps > 0);
  report.precision = plan.precision;
  report.mode = plan.mode;
  report.planPath = options.planPath;
  report.profile = plan.profile;
  report.profileDevice = plan.profileDevice;
  report.runningOn = backend.identity().text();
  report.backend = backend.name();
  report.description = backend.description();
  report.devices = plan.devices;
  report.threads = options.threads;
  report.warmup = options.warmup;
  report.randomSeed = options.randomSeed;
  report.dropoutSeed = training->dropoutSeed();
  report.weights = options.weights;
  report.inputs = options.inputs;
  report.outputs = options.outputs;
  report.cotangents = options.cotangents;
  report.gradients = options.gradients;
  report.weightsPrefix = weights.prefix;
  report.weightsIgnored = weights.ignored;
  report.arenaBytes = arena->bytes();
  report.staticBytes = staticPart->bytes();
  report.recordedLaunches = executor->recordedLaunches();
  report.measuredPeakBytes = {
      report.takenBytes.empty()
          ? report.arenaBytes + report.staticBytes
          : *std::max_element(report.takenBytes.begin(), report.takenBytes.end())};
  training->fillReport(report);
}

/// What a program leaves in its output tensors, under their names without the first `dropped`
/// letters.
Result<std::vector<TensorToWrite>> Session::outputTensors(const plan::Program &program,
                                                          size_t dropped) {
  std::vector<TensorToWrite> tensors;
  for (const std::string &name : program.outputs) {
    const plan::Tensor *tensor = findTensor(plan, name);
    if (!tensor)
      return Status::error(ErrorCode::InvalidPlan,
                           "program output '" + name +
                               "': expected a tensor of the plan, got none");
    tensors.push_back(downloadedTensor(backend, arena->data() + tensor->offset, tensor->dtype,
                                       tensor->shape, name.substr(dropped)));
  }
  return tensors;
}

/// A tensor of F32 or F64 with its elements divided by `scale`.
static TensorToWrite dividedTensor(TensorToWrite tensor, double scale) {
  plan::DType type = tensor.dtype == HostType::F64 ? plan::DType::F64 : plan::DType::F32;
  tensor.read = [read = std::move(tensor.read), type, scale](int64_t first, int64_t count,
                                                             std::byte *out) -> Status {
    EVO_TRY(read(first, count, out));
    std::vector<double> values(static_cast<size_t>(count));
    convertElements(hostTypeOf(type), out, plan::DType::F64,
                    reinterpret_cast<std::byte *>(values.data()), count);
    for (double &value : values)
      value /= scale;
    storeDoubles(values, type, out);
    return {};
  };
  return tensor;
}

/// Gradients by the streams, named as they are, and by each parameter; of the loss itself, where
/// the run scaled it.
Result<std::vector<TensorToWrite>> Session::gradientTensors() {
  if (!backward)
    return std::vector<TensorToWrite>();
  EVO_ASSIGN(std::vector<TensorToWrite> tensors, outputTensors(*backward, 1));
  plan::DType dtype = plan::statisticType(plan.precision);
  const std::byte *base = staticPart->data() + plan.model.blocks * plan.weightBlockBytes;
  for (int64_t block = 0; block < plan.model.blocks; ++block)
    for (const plan::Weight &weight : plan.weights)
      for (const plan::WeightPart &part : weight.parts) {
        std::vector<int64_t> shape = weight.shape;
        shape[0] = part.rows;
        int64_t rowBytes = plan::elementBytes(dtype) * (shape.size() > 1 ? shape[1] : 1);
        tensors.push_back(downloadedTensor(
            backend,
            base + block * plan.gradientBlockBytes + weight.gradientOffset +
                part.firstRow * rowBytes,
            dtype, shape, "blocks." + std::to_string(block) + "." + part.parameter));
      }
  if (double scale = training->gradientScale(); scale != 1)
    for (TensorToWrite &tensor : tensors)
      tensor = dividedTensor(std::move(tensor), scale);
  return tensors;
}

Status Session::writeFiles() {
  fillReport();
  EVO_ASSIGN(std::vector<TensorToWrite> tensors, outputTensors(*forward, 0));
  if (outputFile)
    EVO_TRY(writeTensors(*outputFile, outputFormat, backward ? keptOutputs : tensors));
  if (gradientFile) {
    EVO_ASSIGN(std::vector<TensorToWrite> gradients, gradientTensors());
    EVO_TRY(writeTensors(*gradientFile, gradientFormat, gradients));
  }
  if (stateFile)
    EVO_TRY(training->save(*stateFile));
  if (curveFile)
    EVO_TRY(curveFile->write(lossCurveSvg(
        report.steps, (plan.model.name.empty() ? plan.model.stack : plan.model.name) +
                          ": loss of " + std::to_string(report.steps.size()) + " steps")));
  if (jsonFile)
    EVO_TRY(jsonFile->write(reportJson(report)));
  if (traceFile)
    EVO_TRY(writeTrace(*traceFile, plan, trace));
  std::optional<OutputFile> *const files[] = {&outputFile, &gradientFile, &curveFile,
                                              &traceFile,  &jsonFile,     &stateFile};
  for (std::optional<OutputFile> *file : files)
    if (*file)
      EVO_TRY((*file)->flush());
  for (std::optional<OutputFile> *file : files)
    if (*file)
      EVO_TRY((*file)->commit());
  return {};
}

} // namespace

Status withMemoryNeeds(const Status &status, const plan::Plan &plan,
                       std::optional<int64_t> freeBytes) {
  if (status.ok() || status.code() != ErrorCode::OutOfMemory)
    return status;
  const plan::Summary &summary = plan.summary;
  std::string needs = "; the plan needs " + std::to_string(summary.predictedPeakBytes) +
                      " bytes (arena " + std::to_string(plan.arenaBytes) + ", static part " +
                      std::to_string(summary.staticBytes) + ", libraries " +
                      std::to_string(summary.libraryBytes) + ")";
  if (freeBytes)
    needs += ", of " + std::to_string(*freeBytes) + " that were free before its arena";
  return Status::error(ErrorCode::OutOfMemory, status.message() + needs, status.location());
}

Result<RunReport> runPlan(const plan::Plan &plan, Backend &backend, const RunOptions &options) {
  std::optional<int64_t> freeBytes = backend.freeBytes();
  Result<RunReport> report = Session(plan, backend, options).run();
  if (!report)
    return withMemoryNeeds(report.status(), plan, freeBytes);
  return report;
}

} // namespace evo
