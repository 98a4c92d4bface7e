//===- TensorFile.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/TensorFile.h"

#include "runtime/core/Npy.h"
#include "runtime/core/Safetensors.h"

namespace evo {

namespace {
std::string stemOf(const std::string &path) {
  size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  return name.substr(0, name.rfind('.'));
}
} // namespace

Result<TensorFormat> tensorFormatOf(const std::string &path) {
  if (path.ends_with(".safetensors"))
    return TensorFormat::Safetensors;
  if (path.ends_with(".npz"))
    return TensorFormat::Npz;
  if (path.ends_with(".npy"))
    return TensorFormat::Npy;
  return Status::error(ErrorCode::InvalidInput,
                       "expected a file name that ends with .safetensors, .npz or .npy, got '" +
                           path + "'");
}

Result<std::vector<HostTensor>> readTensorFile(const std::string &path) {
  EVO_ASSIGN(TensorFormat format, tensorFormatOf(path));
  EVO_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  switch (format) {
  case TensorFormat::Safetensors:
    return parseSafetensors(file->bytes(), path, file);
  case TensorFormat::Npz:
    return parseNpz(file->bytes(), path, file);
  case TensorFormat::Npy:
    break;
  }
  EVO_ASSIGN(HostTensor tensor, parseNpy(file->bytes(), path, stemOf(path), file));
  return std::vector<HostTensor>{std::move(tensor)};
}

Status writeTensors(OutputFile &file, TensorFormat format, std::span<const TensorToWrite> tensors) {
  switch (format) {
  case TensorFormat::Safetensors:
    return writeSafetensors(file, tensors);
  case TensorFormat::Npz:
    return writeNpz(file, tensors);
  case TensorFormat::Npy:
    break;
  }
  if (tensors.size() != 1)
    return Status::error(ErrorCode::InvalidInput, "expected one tensor for the .npy file '" +
                                                      file.path() + "', got " +
                                                      std::to_string(tensors.size()) +
                                                      " (name a .npz or .safetensors file)");
  return writeNpy(file, tensors[0]);
}

Status writeTensorFile(const std::string &path, std::span<const TensorToWrite> tensors) {
  EVO_ASSIGN(TensorFormat format, tensorFormatOf(path));
  EVO_ASSIGN(OutputFile file, OutputFile::create(path));
  EVO_TRY(writeTensors(file, format, tensors));
  return file.commit();
}

} // namespace evo
