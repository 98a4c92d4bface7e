//===- EvoOpt.cpp - from a specification to a plan --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Flags and wiring. Exit status: 0 success, 1 a bad input or an infeasible budget, 2 wrong usage.
//===----------------------------------------------------------------------===//
#include "passes/Compile.h"
#include "runtime/core/CommandLine.h"
#include "runtime/core/FileIo.h"
#include "runtime/core/Version.h"
#include "tools/evo-opt/MlirWay.h"

#include "llvm/Config/llvm-config.h"

#include <chrono>
#include <cstdio>
#include <exception>

namespace evo {
namespace {

constexpr std::string_view kUsage =
    "usage: evo-opt SPEC.json [-o PLAN.json] [flags]      makes a plan\n"
    "       evo-opt FILE.mlir [mlir-opt's flags]          everything mlir-opt offers\n"
    "\n"
    "A report goes to standard output (with -o - to standard error), problems to standard error.\n"
    "Exit status: 0 success, 1 a bad input or an infeasible budget, 2 wrong usage.\n"
    "\n";

constexpr FlagValue kValue = FlagValue::Required;
constexpr Flag kFlags[] = {
    {"-o", kValue, "PLAN.json", "write the plan here; -: standard output (default: no plan)"},
    {"--policy", kValue, "P", "auto|direct|chunk (default auto)"},
    {"--devices", kValue, "N", "devices of the plan (default 1)"},
    {"--memory", kValue, "BYTES", "budget a device: 16GiB, ... (default: the profile's memory)"},
    {"--profile", kValue, "P", "h100, h200, cpu or a profile's file (default h100)"},
    {"--mode", kValue, "infer|train", "overrides the specification"},
    {"--dtype", kValue, "T", "fp64|fp32|tf32|bf16|fp16: overrides the specification"},
    {"--set", kValue, "NAME=VALUE", "overrides a key of the specification (repeatable)", true},
    {"--kernels", kValue, "all|plain", "cheapest kernels, or the seed's materialised ones"},
    {"--emit", kValue, "plan|evo|kern", "what -o gets: the plan or the IR (default plan)"},
    {"--json", kValue, "FILE", "write the report here too, for machines"},
    {"--quiet", FlagValue::None, "", "no report"},
    {"--help", FlagValue::None, "", "print this"},
    {"--version", FlagValue::None, "", "print the version and the libraries"},
};

Status usage(const std::string &message) { return Status::error(ErrorCode::Usage, message); }

int fail(const Status &status) {
  std::fprintf(stderr, "evo-opt: error: %s\n", status.message().c_str());
  return status.code() == ErrorCode::Usage ? 2 : 1;
}

Status print(std::FILE *stream, const std::string &text) {
  bool ok = std::fwrite(text.data(), 1, text.size(), stream) == text.size();
  if (std::fflush(stream) == 0 && ok)
    return {};
  return Status::error(ErrorCode::Io, "cannot write to standard output");
}

Status writeFile(const std::string &path, const std::string &text) {
  EVO_ASSIGN(OutputFile file, OutputFile::create(path));
  EVO_TRY(file.write(text));
  return file.commit();
}

std::string versionText() {
  std::string text("evo-opt ");
  text.append(versionNumber()).append("\nrevision ").append(versionRevision());
  return text.append("\nllvm     " LLVM_VERSION_STRING "\n");
}

/// Policies of the command line that this stack, mode or device count does not allow, and why.
Status refusePolicy(const std::string &name) {
  for (std::string_view training : {"small", "large", "extra"})
    if (name == training)
      return usage("policy " + name + " exists in training; in inference: auto, direct, chunk");
  for (std::string_view sharded : {"dap", "dap+chunk", "dap+small", "dap+large"})
    if (name == sharded)
      return usage("policy " + name +
                   " needs several devices, which this version does not plan; on one device: "
                   "auto, direct, chunk");
  return usage("--policy: expected auto, direct or chunk, got '" + name + "'");
}

struct Settings {
  CompileOptions compile;
  std::vector<std::string> overrides;
  std::string specification;
};

Status readTarget(const CommandLine &line, CompileOptions &options) {
  options.profileSource = line.textOr("--profile", "h100");
  EVO_ASSIGN(options.target.profile, loadProfile(options.profileSource));
  options.target.budgetBytes = options.target.profile.memoryBytes;
  if (std::optional<std::string> memory = line.text("--memory")) {
    Result<int64_t> bytes = parseBytes(*memory);
    if (!bytes)
      return usage("--memory: " + bytes.status().message());
    options.target.budgetBytes = *bytes;
  }
  return {};
}

Result<Settings> readSettings(const CommandLine &line) {
  Settings settings;
  if (line.positional().size() != 1)
    return usage("expected one specification, got " + std::to_string(line.positional().size()) +
                 " (see --help)");
  settings.specification = line.positional()[0];
  std::string policy = line.textOr("--policy", "auto");
  std::optional<Policy> known = parsePolicy(policy);
  if (!known)
    return refusePolicy(policy);
  settings.compile.policy = *known;
  constexpr std::string_view kKernels[] = {"all", "plain"}, kModes[] = {"infer", "train"},
                             kTypes[] = {"fp64", "fp32", "tf32", "bf16", "fp16"},
                             kEmits[] = {"plan", "evo", "kern"};
  EVO_ASSIGN(auto kernels, line.choice("--kernels", kKernels));
  EVO_ASSIGN(auto mode, line.choice("--mode", kModes));
  EVO_ASSIGN(auto dtype, line.choice("--dtype", kTypes));
  EVO_ASSIGN(auto emit, line.choice("--emit", kEmits));
  EVO_ASSIGN(int64_t devices, line.integer("--devices", 1, 1'000'000, 1));
  if (devices != 1)
    return Status::error(ErrorCode::Unsupported, "--devices: this version plans one device, got " +
                                                     std::to_string(devices));
  settings.compile.target.plainKernels = kernels == "plain";
  settings.compile.emit = emit == "evo"    ? EmitKind::Evo
                          : emit == "kern" ? EmitKind::Kern
                                           : EmitKind::Plan;
  settings.overrides = line.all("--set");
  if (mode)
    settings.overrides.push_back("mode=" + *mode);
  if (dtype)
    settings.overrides.push_back("dtype=" + *dtype);
  EVO_TRY(readTarget(line, settings.compile));
  return settings;
}

Status writeResults(const CommandLine &line, const Compilation &compilation, EmitKind emit,
                    double compileMs) {
  std::string output = line.textOr("-o", "");
  bool toStdout = output == "-";
  if (toStdout)
    EVO_TRY(print(stdout, compilation.text));
  else if (!output.empty())
    EVO_TRY(writeFile(output, compilation.text));
  if (emit != EmitKind::Plan) {
    if (output.empty())
      EVO_TRY(print(stdout, compilation.text));
    return {};
  }
  if (std::string json = line.textOr("--json", ""); !json.empty())
    EVO_TRY(writeFile(json, reportJson(compilation, compileMs)));
  if (!line.has("--quiet"))
    EVO_TRY(print(toStdout ? stderr : stdout, reportText(compilation)));
  return {};
}

Status runCompiler(const CommandLine &line) {
  EVO_ASSIGN(Settings settings, readSettings(line));
  auto start = std::chrono::steady_clock::now();
  EVO_ASSIGN(spec::ModelSpec spec,
             spec::readModelSpec(settings.specification, settings.overrides));
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  EVO_ASSIGN(Compilation compilation, compile(spec, settings.compile, context));
  std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  return writeResults(line, compilation, settings.compile.emit, elapsed.count());
}

/// Whether the command line asks for a specification to be compiled: its first positional argument is
/// a .json file, or it has none and asks for help or version.
bool isCompilerLine(const std::vector<std::string> &arguments) {
  bool ours = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string &argument = arguments[i];
    if (argument.size() < 2 || argument[0] != '-')
      return argument.ends_with(".json");
    for (const Flag &flag : kFlags)
      if (flag.name == argument) {
        ours |= argument != "-o";
        i += flag.value == kValue ? 1 : 0;
        break;
      }
  }
  return ours || arguments.empty();
}

int runTool(int argc, char **argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!isCompilerLine(arguments))
    return runMlirOpt(argc, argv);
  Result<CommandLine> line = CommandLine::parse(kFlags, arguments);
  if (!line)
    return fail(line.status());
  Status status;
  if (line->has("--help"))
    status = print(stdout, std::string(kUsage) + flagHelp(kFlags));
  else if (line->has("--version"))
    status = print(stdout, versionText());
  else
    status = runCompiler(*line);
  return status.ok() ? 0 : fail(status);
}

} // namespace
} // namespace evo

int main(int argc, char **argv) {
  try {
    return evo::runTool(argc, argv);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "evo-opt: error: %s\n", error.what());
    return 1;
  }
}
