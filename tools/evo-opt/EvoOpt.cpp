//===- EvoOpt.cpp - from a specification to a plan --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Flags and wiring. Exit status: 0 success, 1 a bad input or an infeasible budget, 2 wrong usage.
//===----------------------------------------------------------------------===//
#include "passes/Compile.h"
#include "passes/PolicyRules.h"
#include "passes/Sweep.h"
#include "runtime/core/CommandLine.h"
#include "runtime/core/FileIo.h"
#include "runtime/core/Version.h"
#include "tools/evo-opt/MlirWay.h"
#include "tools/evo-opt/PackWay.h"

#include "llvm/Config/llvm-config.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>

namespace evo {
namespace {

constexpr std::string_view kUsage =
    "usage: evo-opt SPEC.json [-o PLAN.json] [flags]      makes a plan\n"
    "       evo-opt SPEC.json --sweep[=N] [flags]         shows what each amount of memory buys\n"
    "       evo-opt FILE.mlir [mlir-opt's flags]          everything mlir-opt offers (--help "
    "behind\n"
    "                                                     the file lists it)\n"
    "       evo-opt --pack FILE.csv [--capacity N]        places buffers in memory\n"
    "\n"
    "A report goes to standard output (with -o - to standard error), problems to standard error.\n"
    "Files are written when everything succeeded. Exit status: 0 success, 1 a bad input or an\n"
    "infeasible budget or capacity, 2 wrong usage. A packing above the capacity is written all the "
    "same.\n"
    "\n";

constexpr FlagValue kValue = FlagValue::Required;
constexpr Flag kFlags[] = {
    {"-o", kValue, "PLAN.json", "write the plan here; -: standard output (default: no plan)"},
    {"--policy", kValue, "P",
     "auto|direct|chunk, small|large|extra, dap|dap+chunk|dap+small|dap+large (default auto)"},
    {"--devices", kValue, "N", "devices of the plan (default 1)"},
    {"--memory", kValue, "BYTES",
     "budget a device, plain or in KiB, MiB, GiB, TiB (default: the profile's)"},
    {"--profile", kValue, "P", "h100, h200, cpu or a profile's file (default h100)"},
    {"--mode", kValue, "infer|train", "overrides the specification"},
    {"--dtype", kValue, "T", "fp64|fp32|tf32|bf16|fp16: overrides the specification"},
    {"--set", kValue, "NAME=VALUE", "overrides a key of the specification (repeatable)", true},
    {"--kernels", kValue, "all|plain", "cheapest kernels, or the seed's materialised ones"},
    {"--emit", kValue, "plan|evo|kern", "what -o gets: the plan or the IR (default plan)"},
    {"--report", kValue, "FILE.html", "write the report as a page"},
    {"--json", kValue, "FILE", "write the report for machines"},
    {"--quiet", FlagValue::None, "", "print no report"},
    {"--sweep", FlagValue::Optional, "N",
     "no plan, but the time of auto's at N budgets, 2 to 1024 (default 64), for --json and "
     "--report "
     "too"},
    {"--pack", kValue, "FILE.csv",
     "pack buffers (columns id,lower,upper,size); -o gets the columns and offset"},
    {"--capacity", kValue, "BYTES", "of --pack: the height to reach (default: the least)"},
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
  return Status::error(ErrorCode::Io, stream == stdout ? "cannot write to standard output"
                                                       : "cannot write to standard error");
}

/// The compiler calls no device: what executes plans is named by evo-run.
std::string versionText() {
  std::string text("evo-opt ");
  text.append(versionNumber()).append("\nrevision ").append(versionRevision());
  return text.append("\nllvm     " LLVM_VERSION_STRING "\n"
                     "cuda     none: see evo-run --version\n"
                     "blas     none: see evo-run --version\n"
                     "backends none: see evo-run --version; plans for cpu and cuda\n");
}

struct Settings {
  CompileOptions compile;
  std::string policy;
  int64_t devices = 1;
  std::vector<std::string> overrides;
  std::string specification;
};

/// A name without a dot or a slash is no file's: it is held against the built-in profiles.
Status checkProfileName(const std::string &name) {
  std::string list;
  for (std::string_view known : cost::builtinProfileNames()) {
    if (known == name)
      return {};
    list.append(known).append(", ");
  }
  if (name.find_first_of("./") != std::string::npos)
    return {};
  return usage("--profile: expected " + list + "or a profile's file (FILE.json), got '" + name +
               "'");
}

Status readTarget(const CommandLine &line, CompileOptions &options) {
  options.profileSource = line.textOr("--profile", "h100");
  std::optional<int64_t> budget;
  if (std::optional<std::string> memory = line.text("--memory")) {
    Result<int64_t> bytes = parseBytes(*memory);
    if (!bytes)
      return usage("--memory: " + bytes.status().message());
    budget = *bytes;
  }
  EVO_TRY(checkProfileName(options.profileSource));
  EVO_ASSIGN(options.target.profile, loadProfile(options.profileSource));
  options.target.budgetBytes = budget.value_or(options.target.profile.memoryBytes);
  return {};
}

Result<Settings> readSettings(const CommandLine &line) {
  Settings settings;
  if (line.has("--capacity"))
    return usage("--capacity: expected --pack=FILE.csv beside it, got none");
  if (line.positional().size() != 1)
    return usage("expected one specification, got " + std::to_string(line.positional().size()) +
                 " (see --help)");
  settings.specification = line.positional()[0];
  settings.policy = line.textOr("--policy", "auto");
  EVO_TRY(checkPolicyName(settings.policy));
  constexpr std::string_view kKernels[] = {"all", "plain"}, kModes[] = {"infer", "train"},
                             kTypes[] = {"fp64", "fp32", "tf32", "bf16", "fp16"},
                             kEmits[] = {"plan", "evo", "kern"};
  EVO_ASSIGN(auto kernels, line.choice("--kernels", kKernels));
  EVO_ASSIGN(auto mode, line.choice("--mode", kModes));
  EVO_ASSIGN(auto dtype, line.choice("--dtype", kTypes));
  EVO_ASSIGN(auto emit, line.choice("--emit", kEmits));
  EVO_ASSIGN(settings.devices, line.integer("--devices", 1, 1'000'000, 1));
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

/// Files to write, by the flag that names them.
struct Output {
  std::string_view flag;
  std::string path;
};

/// Checked before anything is compiled.
Result<std::vector<Output>> readOutputs(const CommandLine &line) {
  std::vector<Output> outputs;
  for (std::string_view flag : {"-o", "--json", "--report"}) {
    std::string path = line.textOr(flag, "");
    if (path == "-" && flag != "-o")
      return usage(std::string(flag) + ": expected a file, got '-'");
    for (const Output &other : outputs)
      if (!path.empty() && isSameFile(other.path, path))
        return usage("expected different files to write, got '" + path + "' twice");
    if (!path.empty() && path != "-")
      outputs.push_back({flag, path});
  }
  std::vector<std::string> inputs(line.positional().begin(), line.positional().end());
  inputs.push_back(line.textOr("--pack", ""));
  for (const Output &output : outputs)
    for (const std::string &input : inputs)
      if (!input.empty() && isSameFile(output.path, input))
        return usage(std::string(output.flag) + ": expected a file that is not read, got '" +
                     output.path + "'");
  return outputs;
}

bool isDevice(const std::string &path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
}

/// What a run has to say.
struct Texts {
  std::string main;   ///< for -o
  std::string json;   ///< for --json
  std::string page;   ///< for --report
  std::string report; ///< for the screen
};

/// Nothing gets its name before everything is written and the report is out.
Status writeResults(const CommandLine &line, const Texts &texts,
                    const std::vector<Output> &outputs) {
  bool toStdout = line.textOr("-o", "") == "-";
  std::vector<OutputFile> files;
  for (const Output &output : outputs) {
    EVO_ASSIGN(OutputFile file, OutputFile::create(output.path));
    EVO_TRY(file.write(output.flag == "-o"       ? texts.main
                       : output.flag == "--json" ? texts.json
                                                 : texts.page));
    files.push_back(std::move(file));
  }
  // A device gets no name in the end: what is wrong with it shows before anything else is done.
  for (OutputFile &file : files)
    if (isDevice(file.path()))
      EVO_TRY(file.commit());
  if (toStdout)
    EVO_TRY(print(stdout, texts.main));
  if (!line.has("--quiet"))
    EVO_TRY(print(toStdout ? stderr : stdout, texts.report));
  for (OutputFile &file : files)
    if (!isDevice(file.path()))
      EVO_TRY(file.commit());
  return {};
}

Status runPack(const CommandLine &line) {
  EVO_ASSIGN(std::vector<Output> outputs, readOutputs(line));
  EVO_ASSIGN(PackOutcome outcome, runPacker(line, kFlags));
  EVO_TRY(writeResults(line, {outcome.table, outcome.json, "", outcome.report}, outputs));
  return outcome.verdict;
}

/// Sets the policy too: which there are depends on the stack.
Result<spec::ModelSpec> readSpecification(Settings &settings) {
  EVO_ASSIGN(spec::ModelSpec spec, spec::readModelSpec(settings.specification, settings.overrides));
  EVO_ASSIGN(settings.compile.policy, resolvePolicy(settings.policy, spec, settings.devices));
  if (settings.devices != 1)
    return Status::error(ErrorCode::Unsupported,
                         "--devices: expected 1, which this version plans for, got " +
                             std::to_string(settings.devices));
  return spec;
}

Status runCompiler(const CommandLine &line) {
  EVO_ASSIGN(Settings settings, readSettings(line));
  EVO_ASSIGN(std::vector<Output> outputs, readOutputs(line));
  auto start = std::chrono::steady_clock::now();
  EVO_ASSIGN(spec::ModelSpec spec, readSpecification(settings));
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  EVO_ASSIGN(Compilation compilation, compile(spec, settings.compile, context));
  std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  return writeResults(line,
                      {compilation.text, reportJson(compilation, elapsed.count()),
                       line.has("--report") ? reportHtml(compilation) : "",
                       reportText(compilation)},
                      outputs);
}

/// A sweep makes no plan, and all of its plans are auto's.
Result<size_t> readSweepLine(const CommandLine &line) {
  int64_t points = 64;
  if (line.text("--sweep") != "") {
    EVO_ASSIGN(points, line.integer("--sweep", 2, 1024, points));
  }
  if (std::string policy = line.textOr("--policy", "auto"); policy != "auto")
    return usage("--sweep: expected policy auto, beside which it shows the named ones, got '" +
                 policy + "'");
  for (std::string_view flag : {"--emit", "-o"})
    if (line.has(flag))
      return usage("--sweep: expected --json and --report at most for what it finds, got " +
                   std::string(flag) +
                   "; the plan of a point is made without --sweep, by "
                   "--memory=BYTES");
  return static_cast<size_t>(points);
}

/// For a shell.
std::string quoted(const std::string &text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos)
    return text;
  std::string result = "'";
  for (char c : text)
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

/// The call that makes the plan of a point, but for the point's memory.
std::string commandOf(const CommandLine &line) {
  std::string command = "evo-opt " + quoted(line.positional()[0]);
  for (std::string_view flag : {"--profile", "--mode", "--dtype", "--set", "--kernels"})
    for (const std::string &value : line.all(flag))
      command += " " + quoted(std::string(flag) + "=" + value);
  return command;
}

Status runSweep(const CommandLine &line) {
  EVO_ASSIGN(size_t points, readSweepLine(line));
  EVO_ASSIGN(Settings settings, readSettings(line));
  EVO_ASSIGN(std::vector<Output> outputs, readOutputs(line));
  auto start = std::chrono::steady_clock::now();
  EVO_ASSIGN(spec::ModelSpec spec, readSpecification(settings));
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  EVO_ASSIGN(SweepReport report, sweep(spec, settings.compile.target, points, context));
  report.command = commandOf(line);
  std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  return writeResults(line,
                      {"", sweepJson(report, elapsed.count()),
                       line.has("--report") ? sweepHtml(report) : "", sweepText(report)},
                      outputs);
}

/// Whether the command line asks for a specification to be compiled: its first positional argument
/// is a .json file, or it has none and something that mlir-opt does not know how to answer.
bool isCompilerLine(const std::vector<std::string> &arguments) {
  bool ours = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string &argument = arguments[i];
    if (argument.size() < 2 || argument[0] != '-')
      return argument.ends_with(".json");
    std::string name = argument.substr(0, argument.find('='));
    for (const Flag &flag : kFlags)
      if (flag.name == name) {
        if (name == "--pack")
          return true; // its file is no specification
        ours |= name != "-o";
        i += flag.value == kValue && name == argument ? 1 : 0;
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
    status = line->has("--pack")    ? runPack(*line)
             : line->has("--sweep") ? runSweep(*line)
                                    : runCompiler(*line);
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
