//===- BufferTable.h - buffers as lines of text -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Comma-separated values with a header: one buffer a line, with the columns id, lower, upper and
// size (also called buffer, start and end) in any order. Lifetimes are half-open, [lower, upper).
// Other columns stay as they are. A field may be quoted; a line ends with \n or \r\n; empty lines
// count for nothing. Text in, text out: no files.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/memory/Packer.h"

#include <string>
#include <string_view>

namespace evo::memory {

struct BufferTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows; ///< fields as they stand in the text
  std::vector<Lifetime> buffers;              ///< one a row
};

/// Errors begin with "line N: ".
Result<BufferTable> readBufferTable(std::string_view text);

/// The same columns and `offset`, which comes last unless the table has it.
std::string writeBufferTable(const BufferTable &table, std::span<const Bytes> offsets);

} // namespace evo::memory
