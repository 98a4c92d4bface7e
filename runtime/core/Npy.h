//===- Npy.h - numpy's array files ------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// .npy versions 1 to 3 of numeric arrays (no Python objects, no structures), and .npz: a zip
// archive of them, stored or deflated, with 64-bit sizes where needed.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/FileIo.h"
#include "runtime/core/HostTensor.h"

namespace evo {

/// `content` is the whole file and lives as long as `owner`; the tensor is called `name`. An array
/// in Fortran order is copied into row-major order.
Result<HostTensor> parseNpy(std::span<const std::byte> content, std::string_view fileName,
                            const std::string &name, std::shared_ptr<const void> owner);
/// Stored entries stay in `content`; deflated ones are inflated into memory of their own.
Result<std::vector<HostTensor>> parseNpz(std::span<const std::byte> content,
                                         std::string_view fileName,
                                         const std::shared_ptr<const void> &owner);

/// The header of a version 1 file, magic included. `dtype` has a numpy name: not BF16 or F8.
Result<std::string> npyHeader(HostType dtype, std::span<const int64_t> shape);
Status writeNpy(OutputFile &file, const TensorToWrite &tensor);
Status writeNpz(OutputFile &file, std::span<const TensorToWrite> tensors);

} // namespace evo
