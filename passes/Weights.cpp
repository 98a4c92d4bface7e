//===- Weights.cpp - the static part of a block -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Procedure.h"

#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace evo {

namespace {

/// What kern.weight and kern.weight_buffer have in common.
struct WeightUse {
  StringRef name;
  ArrayAttr parts;
  ArrayRef<int64_t> rows;
  ArrayRef<int64_t> shape;
  Type element;
};

std::optional<WeightUse> getWeightUse(Operation *op) {
  if (auto weight = dyn_cast<kern::WeightOp>(op)) {
    auto type = cast<RankedTensorType>(weight.getType());
    return WeightUse{weight.getName(), weight.getParts(), weight.getRows(), type.getShape(),
                     type.getElementType()};
  }
  if (auto weight = dyn_cast<kern::WeightBufferOp>(op)) {
    kern::BufferType type = weight.getResult().getType();
    return WeightUse{weight.getName(), weight.getParts(), weight.getRows(), type.getShape(),
                     type.getElementType()};
  }
  return std::nullopt;
}

plan::Weight makeWeight(const WeightUse &use, int64_t offset) {
  plan::Weight weight;
  weight.name = use.name.str();
  weight.dtype = kern::toDType(use.element).value_or(plan::DType::F32);
  weight.shape.assign(use.shape.begin(), use.shape.end());
  weight.offset = offset;
  int64_t row = 0;
  for (auto [part, rows] : llvm::zip_equal(use.parts.getAsValueRange<StringAttr>(), use.rows)) {
    weight.parts.push_back({part.str(), row, rows});
    row += rows;
  }
  return weight;
}

bool sameParts(const plan::Weight &a, const plan::Weight &b) {
  return std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(),
                    [](const plan::WeightPart &x, const plan::WeightPart &y) {
                      return x.parameter == y.parameter && x.rows == y.rows;
                    });
}

} // namespace

Result<WeightTable> collectWeights(ArrayRef<kern::ProcedureOp> procedures, plan::DType gradientType,
                                   ArrayRef<plan::StateKind> states) {
  WeightTable table;
  llvm::StringMap<size_t> known;
  Status status;
  for (kern::ProcedureOp procedure : procedures)
    procedure->walk<WalkOrder::PreOrder>([&](Operation *op) {
      std::optional<WeightUse> use = getWeightUse(op);
      if (!use || !status.ok())
        return;
      plan::Weight weight = makeWeight(*use, table.blockBytes);
      auto [entry, inserted] = known.try_emplace(weight.name, table.weights.size());
      if (!inserted) {
        const plan::Weight &other = table.weights[entry->second];
        if (other.shape != weight.shape || other.dtype != weight.dtype || !sameParts(other, weight))
          status =
              Status::error(ErrorCode::InvalidInput,
                            "weight '" + weight.name + "' is used with different shapes or parts");
        return;
      }
      std::optional<int64_t> bytes = plan::byteSize(weight.shape, weight.dtype);
      std::optional<int64_t> gradient = plan::byteSize(weight.shape, gradientType);
      constexpr int64_t most = INT64_MAX - plan::kAlignment;
      table.gradientOffsets.push_back(table.gradientBytes);
      if (!bytes || !gradient || *bytes > most || *gradient > most ||
          __builtin_add_overflow(table.blockBytes, plan::alignTo(*bytes), &table.blockBytes) ||
          __builtin_add_overflow(table.gradientBytes, plan::alignTo(*gradient),
                                 &table.gradientBytes)) {
        status = Status::error(ErrorCode::InvalidInput, "the weights have more than 2^63 bytes");
        return;
      }
      weight.bytes = *bytes;
      for (plan::StateKind kind : states) {
        weight.states.push_back({kind, table.stateBytes});
        if (__builtin_add_overflow(table.stateBytes, plan::alignTo(*gradient), &table.stateBytes))
          status = Status::error(ErrorCode::InvalidInput,
                                 "the optimizer's state has more than 2^63 bytes");
      }
      table.weights.push_back(std::move(weight));
    });
  if (!status.ok())
    return status;
  return table;
}

} // namespace evo
