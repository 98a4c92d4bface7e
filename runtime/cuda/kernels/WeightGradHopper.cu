//===- WeightGradHopper.cu --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' `weight_grad` of many rows, as they lie or of two axes that do not join, where
// the library is slower: what the operands look like to copies, which tiles and clusters the kernel
// of WeightGradTiles.cuh has, and where its sums belong.
//
// Operands are read once, or a few times from the second-level cache, so that memory is the bound
// of those taken here; sums of less than some 20 us are as long to begin and to end.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/WeightGradHopper.h"

#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/WeightGradSlots.cuh"
#include "runtime/cuda/kernels/WeightGradTiles.cuh"

namespace evo::cuda {

namespace {

/// An axis of the rows, with the strides of du and x.
struct RowAxis {
  int64_t extent = 1, stride[2] = {};
};

/// The operands as copies take them.
struct WeightOperands {
  RowAxis outer, inner;
  int64_t cols[2], tiles[2];
  const std::byte *data[2];
  int left = 0;       ///< which is the left one
  int neighbours = 1; ///< tiles that share their columns of one operand
  bool sharesRight = false;
  bool paired = false; ///< rows are pairs of those of the call, whose cross sums are not used

  int right() const { return 1 - left; }
  int64_t pieces() const { return outer.extent * ceilDiv(inner.extent, kPieceRows); }
  template <class S> bool describe(const Context &context, CUtensorMap &map, int operand) const {
    bool shared = neighbours > 1 && (operand == left) != sharesRight;
    TensorOfBoxes<S, 3> tensor{data[operand],
                               {cols[operand], inner.extent, outer.extent},
                               {inner.stride[operand], outer.stride[operand]},
                               {kPanelCols, shared ? kPieceRows / neighbours : kPieceRows, 1}};
    return tensor.describe(context, map, CU_TENSOR_MAP_SWIZZLE_128B);
  }
};

/// How far on a slot's fours of the second of two paired rows are: four columns of du, and so many
/// of x. 0: they do not lie as those of the first do.
int foldOf(int64_t cols) {
  if (cols == kTileCols)
    return kTileFours + 4 * 4;
  bool fits = cols % 8 == 0 && 2 * cols <= kTileCols;
  return fits ? static_cast<int>(cols / 8 * kFactorThreads + 4 * 4) : 0;
}

/// Four columns of du, too narrow for copies, are eight of half as many rows.
void pairRows(WeightOperands &weight, const Launch &launch) {
  const Operand &dweight = launch.operands[3];
  RowAxis &rows = weight.inner;
  weight.paired = dweight.shape[0] == 4 && foldOf(dweight.shape[1]) > 0 &&
                  weight.outer.extent == 1 && rows.extent % 2 == 0;
  for (int i : {0, 1})
    weight.paired &= rows.stride[i] == dweight.shape[i];
  if (!weight.paired)
    return;
  rows.extent /= 2;
  for (int i : {0, 1})
    weight.cols[i] *= 2, rows.stride[i] *= 2;
}

/// False: more than two axes that do not join, or few rows, also in most pieces.
bool arrangeRows(WeightOperands &weight, const Launch &launch) {
  const Operand *o = launch.operands;
  AxisSpace<2> rows;
  for (int d = 0; d + 1 < o[0].rank; ++d) {
    for (int i : {0, 1})
      rows.stride[i][d] = o[i].strides[d];
    rows.push(o[0].shape[d]);
  }
  // One axis of more rows than a copy can name stays two.
  AxisSpace<2> merged = rows;
  merged.merge();
  if (merged.rank != 1 || merged.extent[0] <= kMostBoxedExtent)
    rows = merged;
  constexpr int64_t kMostRows = int64_t{1} << 35; // whose pieces fit 32 bits
  if (rows.rank > 2 || rows.count() < 1024 || rows.count() > kMostRows)
    return false;
  RowAxis axes[2]; // outer and inner
  for (int d = 0; d < rows.rank; ++d) {
    RowAxis &axis = axes[2 - rows.rank + d];
    axis = {rows.extent[d], {rows.stride[0][d], rows.stride[1][d]}};
  }
  weight.outer = axes[1], weight.inner = axes[0];
  int64_t turned = weight.pieces();
  weight.outer = axes[0], weight.inner = axes[1];
  if (turned < weight.pieces())
    std::swap(weight.outer, weight.inner);
  return weight.pieces() * kPieceRows <= 2 * rows.count();
}

/// Which tiles are neighbours: such that the most columns are read but once by both.
void chooseNeighbours(WeightOperands &weight) {
  int64_t least = INT64_MAX;
  auto inPanels = [](int64_t cols) {
    return smaller(ceilDiv(cols, kPanelCols) * kPanelCols, kTileCols);
  };
  for (int left : {0, 1}) {
    if (weight.paired && left == 1)
      continue; // see foldOf
    int64_t leftCols = inPanels(weight.cols[left]), rightCols = inPanels(weight.cols[1 - left]);
    auto consider = [&](int neighbours, bool sharesRight, int64_t cols) {
      if (cols >= least)
        return;
      least = cols;
      weight.left = left, weight.neighbours = neighbours, weight.sharesRight = sharesRight;
    };
    consider(1, false, leftCols + rightCols);
    if (weight.tiles[left] % kMostNeighbours == 0)
      consider(kMostNeighbours, true, leftCols + rightCols / kMostNeighbours);
    if (weight.tiles[1 - left] % kMostNeighbours == 0)
      consider(kMostNeighbours, false, leftCols / kMostNeighbours + rightCols);
  }
}

/// Whether the library is slower: where it would need copies, where one operand has few columns,
/// and where up to a tile's columns have long sums. Elsewhere it costs less beside its bytes, or
/// comes nearer to the tensor cores' rate.
bool isWorthWhile(const WeightOperands &weight) {
  constexpr int64_t kFewCols = 64, kLongBytes = int64_t{1} << 28;
  int64_t few = smaller(weight.cols[0], weight.cols[1]);
  int64_t bytes = 2 * weight.pieces() * kPieceRows * (weight.cols[0] + weight.cols[1]);
  return weight.outer.extent > 1 || weight.paired || few <= kFewCols ||
         (few <= kTileCols && bytes >= kLongBytes);
}

bool describeWeight(WeightOperands &weight, const Launch &launch) {
  const Operand *o = launch.operands, &dweight = o[3];
  int leading = o[0].rank - 1;
  bool fits = !isEmpty(dweight) && arrangeRows(weight, launch);
  for (int i : {0, 1}) {
    weight.cols[i] = dweight.shape[i], weight.data[i] = o[i].data;
    fits &= o[i].strides[leading] == 1 && weight.cols[i] <= INT32_MAX / 2 &&
            reinterpret_cast<uint64_t>(o[i].data) % 16 == 0;
  }
  pairRows(weight, launch);
  for (int i : {0, 1})
    fits &= weight.inner.stride[i] % 8 == 0 && weight.outer.stride[i] % 8 == 0;
  if (!fits)
    return false;
  for (int i : {0, 1})
    weight.tiles[i] = ceilDiv(weight.cols[i], kTileCols);
  chooseNeighbours(weight);
  return true;
}

template <class S>
Status launchTiles(const Launch &launch, const WeightOperands &weight, bool &launched) {
  using Shape = WeightBlock<S>;
  auto kernel = weightHopperKernel<S>;
  int64_t tiles = weight.tiles[0] * weight.tiles[1];
  WeightHopperCall call{};
  if (tiles * kTileFours > kScratchBytes / 16 || !admitsShared(kernel, Shape::kBytes) ||
      !weight.describe<S>(*launch.context, call.left, weight.left) ||
      !weight.describe<S>(*launch.context, call.right, weight.right()))
    return {};
  const Context::Clusters &clustersOf = launch.context->weightClusters;
  int pairs = std::is_same_v<S, __half> ? clustersOf.f16 : clustersOf.bf16;
  if (weight.neighbours > 1 && pairs < 1)
    return {};
  call.innerPieces = static_cast<int>(ceilDiv(weight.inner.extent, kPieceRows));
  call.tiles = static_cast<int>(tiles);
  call.rightTiles = static_cast<int>(weight.tiles[weight.right()]);
  call.sharesRight = weight.sharesRight;
  call.across = call.rightTiles / (call.sharesRight ? 1 : weight.neighbours);
  auto panels = [](int64_t cols) {
    return static_cast<int>(smaller(ceilDiv(cols, kPanelCols), kTilePanels));
  };
  call.leftPanels = panels(weight.cols[weight.left]);
  call.rightPanels = panels(weight.cols[weight.right()]);
  int64_t sets = tiles / weight.neighbours, pieces = weight.pieces();
  int64_t clusters = weight.neighbours == 1 ? launch.context->processors : pairs;
  int64_t most = smaller(kScratchBytes / 16 / (tiles * kTileFours), ceilDiv(pieces, 2));
  int64_t groups = larger(1, smaller(clusters / sets, most));
  call.pieces = static_cast<int>(pieces / groups);
  call.leftOver = static_cast<int>(pieces % groups);
  call.slots = reinterpret_cast<float4 *>(launch.context->scratch);
  launched = true;
  dim3 grid(static_cast<unsigned>(weight.neighbours), static_cast<unsigned>(sets),
            static_cast<unsigned>(groups));
  EVO_TRY(statusOf(
      launchClusters(kernel, grid, kWeightThreads, Shape::kBytes, launch.context->stream, call),
      "the launch of a weight's gradient"));
  MatrixSlots slots(launch, elements<float>(launch.context->scratch), groups, tiles * kTileFours);
  if (weight.paired)
    slots.fold = foldOf(weight.cols[1] / 2);
  return sumMatrixSlots(launch, slots, TileFours{call.rightTiles, weight.left == 1}, true);
}

} // namespace

template <class S> Status launchWeightHopper(const Launch &launch, bool &launched) {
  launched = false;
  WeightOperands weight{};
  if (!launch.context->isHopper || !describeWeight(weight, launch) || !isWorthWhile(weight))
    return {};
  return launchTiles<S>(launch, weight, launched);
}

template <class S> static int weightClustersOf() {
  using Shape = WeightBlock<S>;
  auto kernel = weightHopperKernel<S>;
  return admitsShared(kernel, Shape::kBytes)
             ? clustersAtATime(kernel, kMostNeighbours, kWeightThreads, Shape::kBytes)
             : 0;
}

Context::Clusters findWeightClusters() {
  return {weightClustersOf<__nv_bfloat16>(), weightClustersOf<__half>()};
}

template Status launchWeightHopper<__nv_bfloat16>(const Launch &, bool &);
template Status launchWeightHopper<__half>(const Launch &, bool &);

} // namespace evo::cuda
