// SPDX-License-Identifier: Apache-2.0
//
// Emits the stages of a MatrixLoop for AMX.

#ifndef TPAC_LOWERING_CPU_MATRIXLOOPEMITTER_H
#define TPAC_LOWERING_CPU_MATRIXLOOPEMITTER_H

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/MatrixLoop.h"

namespace mlir::tpa::cpu {

class MatrixLoopEmitter {
public:
  /// `bufferOf`: where a tile that the stages read is. `allocate`: memory at the function's entry.
  MatrixLoopEmitter(Emitter &emitter, ImplicitLocOpBuilder &builder, MatrixLoop &loop,
                    std::function<Tile(Value)> bufferOf, std::function<Value(MemRefType)> allocate);

  /// Before the loop: queries as a matrix unit takes them, strides of what it reads.
  void prepare();

  /// At the end of the loop's body: all stages of one block, one after the other. The state is kept in `max`, `sum` and
  /// `accumulator`.
  void emitBlock(const Tile &max, const Tile &sum, const Tile &accumulator);

  /// Whether emitPipeline can stand for the loop: nothing comes before the stages, and no token is hidden.
  bool canPipeline();
  /// In place of the loop: while the exponentials of a block are computed, the matrix unit works on the score of the
  /// next one and the value of the one before.
  void emitPipeline(const Tile &max, const Tile &sum, const Tile &accumulator);

  /// Whether `keysOrValues` is read from memory by the stages themselves.
  bool isDirect(Value keysOrValues) const;

private:
  /// A place in the stages' index space.
  struct Place {
    /// First token of the block.
    Value token;
    /// Where it stands in the pool of pages, if the cache is one.
    PagePlace page;
    /// Which of the two halves of the scores and weights.
    Value parity;
    /// Index of each outer axis, and all of them as one.
    Point outer;
    Value outerIndex;
  };
  using Work = std::vector<std::function<void()>>;
  struct State {
    Tile max, sum, accumulator;
  };

  // --- Memory
  /// Scores and weights of `halves` blocks at once.
  void allocateStages(int64_t halves);
  Value matrixBuffer(ArrayRef<int64_t> shape, Type element);
  Value blockIndex(const Place &place, tile::LoadOp load, size_t dimension) const;
  /// Sets the page of a place by its token.
  void findPage(Place &place);
  /// The place of tokens that come `ahead` of those from `m` of the block on; its page is that of the first of them.
  Place placeAhead(const Place &place, int64_t ahead, Value m);
  SmallVector<Value> loadIndices(tile::LoadOp load, const Place &place, const Point &point);
  void overOuter(Place place, llvm::function_ref<void(const Place &)> body);

  // --- Operands
  struct Rows {
    Value memory;
    SmallVector<Value> indices;
    Value stride;
  };
  /// Rows of keys from token `m` of the block on: features from `feature`.
  Rows keyRows(Value keys, const Place &place, Value m, int64_t feature);
  /// Features from `feature` on of 32 tokens from `m` of the block on.
  Rows valueRows(Value values, const Place &place, Value m, Value feature);
  void packKeys(Value keys, const Place &place, Value active);
  void packValues(Value values, const Place &place, Value active);
  void copyRows(tile::LoadOp load, const Place &place, Value memory, Value active);
  void copyBlocks(tile::LoadOp load, const Place &place, Value memory, Value active);
  Value rowStride(tile::LoadOp load, StringAttr axis);

  // --- Expressions
  Value evaluate(Value value, const Place &place, Point &point, Value probability);
  Value evaluateLoad(tile::LoadOp load, const Place &place, Point &point);
  Value evaluateMask(tile::MaskOp mask, Value input, const Place &place, Point &point);
  Value exp2(Value x);

  // --- Stages
  /// The scores of 16 tokens from `m` on.
  Work scoreWork(const Place &place, Value m);
  void scoreStage(const Place &place, Value active);
  void maxStage(const Place &place, Value active, const State &state);
  /// Probabilities and weights of `count` tokens from `m` on; `base` and `sums`: one vector per group of columns.
  Work weightWork(const Place &place, Value m, int64_t count, ArrayRef<Value> base, SmallVectorImpl<Value> &sums);
  void weightStage(const Place &place, Value active, const State &state, bool prefetch);
  Work prefetchWork(const Place &keys, const Place &heads, const Place &values, Value m, int64_t count);
  /// Sums that the value product keeps in tiles: `features` x 16 features by `groupCount` x 16 columns.
  struct Pass {
    Value feature;
    int64_t features, group, groupCount;
  };
  /// One step of 32 tokens from `m` on.
  Work valueWork(const Place &place, Value m, int64_t product, const Pass &pass, SmallVectorImpl<Value> &sums);
  void valueStage(const Place &place, Value active, const State &state);
  Value activeTokens(const Place &place);
  SmallVector<Value> loadAccumulator(const Place &place, const State &state, const Pass &pass);
  void storeAccumulator(const Place &place, const State &state, const Pass &pass, ArrayRef<Value> sums);
  void rescale(const Place &place, const State &state, ArrayRef<Value> factors);
  /// 16-feature groups of a pass over the accumulator, with as many groups of columns as fit.
  int64_t passFeatures() const;

  // --- Pipeline
  /// Tokens per iteration of the pipeline's inner loop.
  int64_t pipelineStep() const;
  void pipelineBlock(const Place &next, const Place &current, const Place &previous, const State &state);

  Value number(int64_t value) { return e.index(value); }
  Value stateVector(const Tile &tile, const Place &place, int64_t group);
  void writeState(const Tile &tile, const Place &place, int64_t group, Value vector);

  Emitter &e;
  ImplicitLocOpBuilder &b;
  MatrixLoop &m;
  std::function<Tile(Value)> bufferOf;
  std::function<Value(MemRefType)> allocate;
  int64_t outerSize = 1, groups = 1;
  VectorType f32, i32;

  /// Packed queries by tile: pairs of bf16 [outer][group][feature pair][16 columns].
  llvm::MapVector<Value, Value> queries;
  /// Scores: f32 [parity][outer][token][column]; weights: [parity][outer][group][token pair][column], as
  /// pairs of bf16.
  SmallVector<Value> scores, weightWords;
  /// Elements from row to row, of the loads that the stages read themselves.
  llvm::DenseMap<Operation *, Value> rowStrides;
  /// Keys and values that are not read where they stand: bf16 [token][feature], [32 tokens][feature][token].
  llvm::MapVector<Value, Value> packed;
};

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_MATRIXLOOPEMITTER_H
