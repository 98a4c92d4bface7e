//===- MlirWay.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "tools/evo-opt/MlirWay.h"

#include "passes/Passes.h"
#include "runtime/core/FileIo.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/Timing.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

namespace cl = llvm::cl;

namespace evo {

namespace {

int fail(int status, const std::string &message) {
  llvm::errs() << "evo-opt: error: " << message << '\n';
  return status;
}

int printDialects(const mlir::DialectRegistry &registry) {
  llvm::outs() << "Available Dialects: ";
  llvm::interleave(registry.getDialectNames(), llvm::outs(), ",");
  llvm::outs() << '\n';
  return 0;
}

/// A pipeline that does not parse is a wrong value of a flag, not a bad input: what is wrong with
/// it, or nothing.
std::string problemOfPipeline(const mlir::MlirOptMainConfig &config) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  std::string problem;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    problem += (problem.empty() ? "" : "; ") + diagnostic.str();
    return mlir::success();
  });
  mlir::PassManager manager(&context, mlir::ModuleOp::getOperationName(),
                            mlir::PassManager::Nesting::Implicit);
  if (mlir::succeeded(config.setupPassPipeline(manager)))
    return "";
  return problem.empty() ? "expected a pass pipeline that parses"
                         : problem.substr(0, problem.find_last_not_of(" \n") + 1);
}

mlir::LogicalResult writeWhole(const std::string &path, const std::string &text) {
  if (path == "-") {
    llvm::outs() << text;
    llvm::outs().flush();
    if (!llvm::outs().has_error())
      return mlir::success();
    llvm::outs().clear_error();
    return fail(1, "cannot write to standard output"), mlir::failure();
  }
  Status status;
  Result<OutputFile> file = OutputFile::create(path);
  status = file.status();
  if (status.ok())
    status = file->write(text);
  if (status.ok())
    status = file->commit();
  if (status.ok())
    return mlir::success();
  return fail(1, status.message()), mlir::failure();
}

} // namespace

int runMlirOpt(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  mlir::registerTransformsPasses();
  registerEvoPipelines();
  mlir::DialectRegistry registry;
  // The builtin neighbours that a hand-written test or a later lowering meets; not all of MLIR,
  // whose registration alone takes longer than compiling a specification.
  registry
      .insert<ir::EvoDialect, kern::KernDialect, mlir::arith::ArithDialect, mlir::func::FuncDialect,
              mlir::memref::MemRefDialect, mlir::scf::SCFDialect, mlir::tensor::TensorDialect>();

  cl::opt<std::string> input(cl::Positional, cl::desc("<input file>"), cl::init("-"));
  cl::opt<std::string> output("o", cl::desc("Output file"), cl::value_desc("filename"),
                              cl::init("-"));
  mlir::MlirOptMainConfig::registerCLOptions(registry);
  mlir::registerAsmPrinterCLOptions();
  mlir::registerMLIRContextCLOptions();
  mlir::registerPassManagerCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  // With a stream of its own the parser returns instead of leaving with status 1.
  std::string problems;
  llvm::raw_string_ostream stream(problems);
  if (!cl::ParseCommandLineOptions(argc, argv, "Evo optimizer driver\n", &stream)) {
    llvm::errs() << problems;
    return 2;
  }
  mlir::MlirOptMainConfig config = mlir::MlirOptMainConfig::createFromCLOptions();
  if (config.shouldShowDialects())
    return printDialects(registry);
  if (std::string problem = problemOfPipeline(config);
      !problem.empty() && !config.shouldUseExplicitModule())
    return fail(2, problem);

  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> file = mlir::openInputFile(input, &message);
  if (!file)
    return fail(1, message);
  std::string text;
  llvm::raw_string_ostream result(text);
  if (mlir::failed(mlir::MlirOptMain(result, std::move(file), registry, config)))
    return 1;
  return mlir::succeeded(writeWhole(output, text)) ? 0 : 1;
}

} // namespace evo
