//===- CublasLt.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/CublasLt.h"

#include <dlfcn.h>

namespace evo::cuda {

Result<std::unique_ptr<CublasLt>> CublasLt::load() {
  std::unique_ptr<CublasLt> loaded(new CublasLt);
  // By its name where the system finds it, else where the toolkit lay that this was built with.
  std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  std::string reasons;
  for (const std::string &path : {name, std::string(EVO_CUDA_LIBRARY_DIR "/") + name}) {
    loaded->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (loaded->library)
      break;
    const char *reason = dlerror();
    reasons += (reasons.empty() ? "" : "; ") + std::string(reason ? reason : "no reason given");
  }
  if (!loaded->library)
    return Status::error(ErrorCode::Unsupported, "expected the library " + name +
                                                     " of the CUDA toolkit, got none (" + reasons +
                                                     "); set LD_LIBRARY_PATH to its folder");
  auto find = [&](auto &function, const char *symbol) -> Status {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
        dlsym(loaded->library, symbol));
    return function ? Status::success()
                    : Status::error(ErrorCode::Unsupported, "expected " + std::string(symbol) +
                                                                " in " + name + ", got none");
  };
#define EVO_CUBLASLT_FIND(function) EVO_TRY(find(loaded->function, #function));
  EVO_CUBLASLT_FUNCTIONS(EVO_CUBLASLT_FIND)
#undef EVO_CUBLASLT_FIND
  return loaded;
}

CublasLt::~CublasLt() {
  if (library)
    dlclose(library);
}

std::string CublasLt::name() const {
  size_t version = cublasLtGetVersion();
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

Status CublasLt::statusOf(cublasStatus_t status, const char *expression) const {
  if (status == CUBLAS_STATUS_SUCCESS)
    return {};
  return Status::error(status == CUBLAS_STATUS_NOT_SUPPORTED  ? ErrorCode::Unsupported
                       : status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::OutOfMemory
                                                              : ErrorCode::Internal,
                       std::string("expected ") + expression + " to succeed, got " +
                           cublasLtGetStatusString(status));
}

} // namespace evo::cuda
