//===- TensorFile.h - tensors by file suffix --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/FileIo.h"
#include "runtime/core/HostTensor.h"

namespace evo {

enum class TensorFormat : uint8_t { Safetensors, Npz, Npy };

/// From ".safetensors", ".npz" or ".npy".
Result<TensorFormat> tensorFormatOf(const std::string &path);

/// All tensors of a file. A .npy file holds one, named like the file without its suffix.
Result<std::vector<HostTensor>> readTensorFile(const std::string &path);

/// Writes into a file that has been created, which the caller commits. A .npy file takes one
/// tensor.
Status writeTensors(OutputFile &file, TensorFormat format, std::span<const TensorToWrite> tensors);
/// Creates, writes and commits.
Status writeTensorFile(const std::string &path, std::span<const TensorToWrite> tensors);

} // namespace evo
