//===- KernDialect.cpp - registration and types -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/KernDialect.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/Kern/KernDialect.cpp.inc"
#include "dialects/Kern/KernInterfaces.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Kern/KernTypes.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Kern/KernAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/Kern/KernOps.cpp.inc"

using namespace mlir;

namespace evo::kern {

void KernDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Kern/KernTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Kern/KernAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Kern/KernOps.cpp.inc"
      >();
}

std::optional<plan::DType> toDType(Type type) {
  if (type.isF64())
    return plan::DType::F64;
  if (type.isF32())
    return plan::DType::F32;
  if (type.isF16())
    return plan::DType::F16;
  if (type.isBF16())
    return plan::DType::BF16;
  return std::nullopt;
}

Type fromDType(MLIRContext *context, plan::DType dtype) {
  switch (dtype) {
  case plan::DType::F64:
    return Float64Type::get(context);
  case plan::DType::F32:
    return Float32Type::get(context);
  case plan::DType::F16:
    return Float16Type::get(context);
  case plan::DType::BF16:
    return BFloat16Type::get(context);
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

static ParseResult parseShape(AsmParser &parser, SmallVector<int64_t> &shape, Type &element) {
  return failure(parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
                 parser.parseType(element));
}

static void printShape(AsmPrinter &printer, ArrayRef<int64_t> shape, Type element) {
  for (int64_t size : shape)
    printer << size << 'x';
  printer << element;
}

Type BufferType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type element;
  int64_t pitch = 0;
  if (parser.parseLess() || parseShape(parser, shape, element) || parser.parseComma() ||
      parser.parseInteger(pitch) || parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(parser.getNameLoc()); }, parser.getContext(),
                    shape, element, pitch);
}

LogicalResult BufferType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 ArrayRef<int64_t> shape, Type element, int64_t pitch) {
  if (!toDType(element))
    return emitError() << "expected elements of f64, f32, f16 or bf16, got " << element;
  if (shape.empty() || llvm::any_of(shape, [](int64_t size) { return size < 1; }))
    return emitError() << "expected at least one axis and extents of at least 1";
  if (pitch < shape.back())
    return emitError() << "expected a pitch of at least the innermost extent " << shape.back()
                       << ", got " << pitch;
  return success();
}

void BufferType::print(AsmPrinter &printer) const {
  printer << '<';
  printShape(printer, getShape(), getElementType());
  printer << ", " << getPitch() << '>';
}

SmallVector<int64_t> BufferType::getStrides() const {
  size_t rank = getShape().size();
  SmallVector<int64_t> strides(rank, 1);
  for (size_t i = rank; i-- > 1;)
    strides[i - 1] = i + 1 == rank ? getPitch() : strides[i] * getShape()[i];
  return strides;
}

std::optional<int64_t> BufferType::getByteSize() const {
  std::optional<plan::DType> dtype = toDType(getElementType());
  if (!dtype)
    return std::nullopt;
  SmallVector<int64_t> padded(getShape());
  if (padded.size() > 1)
    padded.back() = getPitch();
  std::optional<int64_t> bytes = plan::byteSize({padded.data(), padded.size()}, *dtype);
  if (!bytes || padded.size() < 2)
    return bytes;
  return *bytes - (getPitch() - getShape().back()) * plan::elementBytes(*dtype);
}

Type ViewType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type element;
  if (parser.parseLess() || parseShape(parser, shape, element) || parser.parseGreater())
    return {};
  return get(parser.getContext(), shape, element);
}

void ViewType::print(AsmPrinter &printer) const {
  printer << '<';
  printShape(printer, getShape(), getElementType());
  printer << '>';
}

} // namespace evo::kern
