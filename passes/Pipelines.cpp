//===- Pipelines.cpp - the order of the passes ------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

using namespace mlir;

namespace evo {

void buildLoweringPipeline(OpPassManager &manager, const std::string &profile) {
  manager.addPass(createEvoVerifyChosen());
  manager.addPass(createEvoLowerToKern());
  manager.addPass(createKernAnnotateCost({profile}));
  manager.addPass(createKernAssignBuffers());
  manager.addPass(createKernFreeBuffers());
  manager.addPass(createKernVerifyBuffers());
  manager.addPass(createKernPlace());
  manager.addPass(createKernVerifyPlaced());
}

namespace {
struct ToPlanOptions : PassPipelineOptions<ToPlanOptions> {
  Option<std::string> policy{*this, "policy",
                             llvm::cl::desc("auto, direct, small, large, chunk or extra"),
                             llvm::cl::init("auto")};
  Option<std::string> profile{*this, "profile", llvm::cl::desc("a profile's name or file"),
                              llvm::cl::init("h100")};
};
} // namespace

void registerEvoPipelines() {
  registerEvoPasses();
  PassPipelineRegistration<ToPlanOptions>("evo-to-plan",
                                          "from an imported stack to a placed module",
                                          [](OpPassManager &manager, const ToPlanOptions &options) {
                                            EvoChoosePolicyOptions choose;
                                            choose.policy = options.policy;
                                            choose.profile = options.profile;
                                            manager.addPass(createEvoChoosePolicy(choose));
                                            buildLoweringPipeline(manager, options.profile);
                                          });
}

} // namespace evo
