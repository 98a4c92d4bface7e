//===- Safetensors.h --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A header length (8 bytes, little endian), a JSON header {name: {dtype, shape, data_offsets}}, and
// the tensors' bytes. The reader is strict: the tensors tile the bytes behind the header exactly.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/FileIo.h"
#include "runtime/core/HostTensor.h"

#include <map>

namespace evo {

/// Texts by name, in the header's "__metadata__".
using SafetensorsMetadata = std::map<std::string, std::string, std::less<>>;

/// `content` is the whole file and lives as long as `owner`; tensors come in the order of their
/// bytes.
Result<std::vector<HostTensor>> parseSafetensors(std::span<const std::byte> content,
                                                 std::string_view fileName,
                                                 const std::shared_ptr<const void> &owner,
                                                 SafetensorsMetadata *metadata = nullptr);
Status writeSafetensors(OutputFile &file, std::span<const TensorToWrite> tensors,
                        const SafetensorsMetadata &metadata = {});

} // namespace evo
