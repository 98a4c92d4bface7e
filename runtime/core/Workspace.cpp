//===- Workspace.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Workspace.h"

#include <algorithm>
#include <vector>

namespace evo {

Status lendWorkspace(Backend &backend, const plan::Plan &plan, std::byte *arena) {
  const plan::Tensor *tensor = plan::workspaceOf(plan);
  return tensor ? backend.setWorkspace(arena + tensor->offset, tensor->bytes)
                : backend.setWorkspace(nullptr, 0);
}

Result<std::unique_ptr<DeviceMemory>> allocateWorkspace(Backend &backend) {
  EVO_ASSIGN(std::unique_ptr<DeviceMemory> memory,
             backend.allocate(backend.identity().workspaceBytes));
  EVO_TRY(poison(backend, *memory));
  EVO_TRY(backend.setWorkspace(memory->data(), memory->bytes()));
  return memory;
}

Status poison(Backend &backend, const DeviceMemory &memory) {
  constexpr int64_t kPieceBytes = int64_t{1} << 20;
  std::vector<std::byte> nans(static_cast<size_t>(std::min(kPieceBytes, memory.bytes())),
                              std::byte{0xff});
  for (int64_t at = 0; at < memory.bytes(); at += kPieceBytes)
    EVO_TRY(backend.upload(memory.data() + at, nans.data(),
                           std::min(kPieceBytes, memory.bytes() - at)));
  return {};
}

} // namespace evo
