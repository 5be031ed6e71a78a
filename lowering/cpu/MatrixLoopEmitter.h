// SPDX-License-Identifier: Apache-2.0
//
// Emits the stages of a MatrixLoop for AMX.

#ifndef TPAC_LOWERING_CPU_MATRIXLOOPEMITTER_H
#define TPAC_LOWERING_CPU_MATRIXLOOPEMITTER_H

#include "lowering/cpu/Emitter.h"
#include "lowering/cpu/MatrixLoop.h"
#include "lowering/cpu/MatrixTiles.h"

namespace mlir::tpa::cpu {

class MatrixLoopEmitter {
public:
  /// Packed queries by tile: pairs of bf16 [outer][group][feature pair][16 columns].
  using Queries = llvm::MapVector<Value, Value>;

  /// `queries`: those that earlier loops of the same block have packed; this one's are added. `bufferOf`: where a tile
  /// that the stages read is. `allocate`: memory at the function's entry.
  MatrixLoopEmitter(Emitter &emitter, ImplicitLocOpBuilder &builder, MatrixLoop &loop, Queries &queries,
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
    /// First column of the chunk; null: 0, there is one chunk.
    Value column;
    /// First token of the block that the stages work on; null: 0.
    Value firstToken;
    /// Row of the scores' buffer where token 0 of the block would be; null: 0.
    Value scoreShift;
    /// Whether every column sees every token that is weighed, whatever the mask says.
    bool isWhole = false;
    /// Index of each outer axis, and all of them as one.
    Point outer;
    Value outerIndex;
  };
  struct State {
    Tile max, sum, accumulator;
  };

  // --- Memory
  /// Scores, rows of tokens, and weights of so many blocks at once.
  void allocateStages(int64_t scoreHalves, int64_t scoreRows, int64_t weightHalves);
  /// Where the scores of token `m` and column `column` are.
  SmallVector<Value> scoreIndices(const Place &place, Value m, Value column);
  Value matrixBuffer(ArrayRef<int64_t> shape, Type element);
  Value blockIndex(const Place &place, tile::LoadOp load, size_t dimension) const;
  /// Sets the page of a place by its token.
  void findPage(Place &place);
  /// The place of tokens that come `ahead` of those from `m` of the block on; its page is that of the first of them.
  Place placeAhead(const Place &place, int64_t ahead, Value m);
  SmallVector<Value> loadIndices(tile::LoadOp load, const Place &place, const Point &point);
  /// body for each index of the outer axes that counts, or for that of `place` where it has one.
  void overOuter(Place place, llvm::function_ref<void(const Place &)> body);
  /// How many indices of the outer axes count together, of one of them, and the place of one.
  Value outerCount();
  Value outerExtent(StringAttr axis);
  void setOuter(Place &place, Value index);

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
  SmallVector<Value> tileIndices(Value token, int64_t feature);
  Value keyBuffer();
  /// Packs `query`, and the other part of what it is a part of.
  void packQuery(Value query);
  void packQueryColumns(Value query, Value memory);
  void packQueryRows(const Tile &query, Value highParts, Value lowParts);
  /// Packs those keys and values for which `which` holds.
  void packOperands(const Place &place, Value active, llvm::function_ref<bool(Value)> which);
  void packKeys(Value keys, const Place &place, Value active);
  void packValues(Value values, const Place &place, Value active);
  /// Rows of features as vectors along them are computed; keys split into two parts are packed at once.
  void packRows(Value keys, const Place &place, Value active);
  /// Features of 32 tokens from vectors along the tokens.
  void packFeatures(Value values, Value memory, const Place &place, Value active);
  /// The same from vectors along the features.
  void packTransposed(Value values, Value memory, const Place &place, Value active);
  void copyRows(tile::LoadOp load, const Place &place, Value memory, Value active);
  void copyBlocks(tile::LoadOp load, const Place &place, Value memory, Value active);
  Value rowStride(tile::LoadOp load, StringAttr axis);

  // --- Expressions
  /// 16 elements of `value` along `lane` from `point` on.
  Value evaluate(Value value, const Place &place, Point &point, StringAttr lane, Value probability = Value());
  Value evaluateLoad(tile::LoadOp load, const Place &place, Point &point, StringAttr lane);
  Value evaluateMask(tile::MaskOp mask, Value input, const Place &place, Point &point);

  // --- Stages
  /// The scores of 16 tokens from `m` on.
  Work scoreWork(const Place &place, Value m);
  void scoreStage(const Place &place, Value active);
  void maxStage(const Place &place, Value active, const State &state);
  SmallVector<Value> maximumOf(const Place &place, Value end, ArrayRef<Value> start);
  Value firstToken(const Place &place);
  /// Probabilities and weights of `count` tokens from `m` on; `base` and `sums`: one vector per group of columns.
  Work weightWork(const Place &place, Value m, int64_t count, ArrayRef<Value> base, SmallVectorImpl<Value> &sums);
  /// What logits are taken relative to, one vector per group of columns.
  SmallVector<Value> weightBase(const Place &place, const State &state);
  /// Weights of the tokens up to `active`; their sums, added to `start`.
  SmallVector<Value> weigh(const Place &place, Value active, ArrayRef<Value> base, ArrayRef<Value> start,
                           bool prefetch);
  void weightStage(const Place &place, Value active, const State &state, bool prefetch);
  Work prefetchWork(const Place &keys, const Place &heads, const Place &values, Value m, int64_t count, int64_t ahead);
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
  /// Asks for what is read some way behind `count` tokens from `m` of the current block on.
  Work pipelinePrefetch(const Place &next, const Place &current, const Place &previous, Value m, int64_t count);
  /// Adds the sums of tokens up to `active` that were weighed by an earlier maximum, or weighs them again by their own.
  void addSums(const Place &place, Value active, ArrayRef<Value> sums, const State &state);
  /// Weights of tokens that do not count, in the half `parity`.
  void clearWeights(Value parity);

  // --- Chunks of columns
  /// Tokens [first, end) of a block that some column of a chunk sees, in whole steps of the value product; all columns
  /// see those in [wholeFirst, wholeEnd).
  struct Visible {
    Value first, wholeFirst, wholeEnd, end;
  };
  void emitColumns(const State &state);
  Value activeColumns();
  Visible visibleTokens(const Place &place);
  void emitChunk(Place place, const Visible &visible, Value columns, const State &state);
  SmallVector<Value> weighMasked(Place place, Value first, Value end, ArrayRef<Value> sums, const State &state);
  SmallVector<Value> weighWhole(Place place, const Visible &visible, Value columns, ArrayRef<Value> start,
                                const State &state);
  void setFirstMaximum(const Place &place, Value end, const State &state);
  /// Scores of a chunk's second group of columns, 32 tokens from `token` on, that are still in registers.
  struct LateScores {
    Place place;
    Value token;
    size_t score = 0;
    SmallVector<Value> sums;
  };
  /// The scores of 32 tokens from `m` on: sums beside and below each other share operands. Stores those that were late
  /// before; those of this call that are late come instead.
  Work chunkScoreWork(const Place &place, Value m, LateScores &late);
  Work storeScores(const LateScores &late);
  /// The tiles that storeScores has stored.
  SmallVector<Value> loadScores(const Place &place, Value m);
  void chunkValueStage(const Place &place, Value active, const State &state);

  Value number(int64_t value) { return e.index(value); }
  /// First column of the chunk's group `group`, and its number among all groups.
  Value columnOf(const Place &place, int64_t group);
  Value groupOf(const Place &place, int64_t group);
  Value stateVector(const Tile &tile, const Place &place, int64_t group);
  void writeState(const Tile &tile, const Place &place, int64_t group, Value vector);

  Emitter &e;
  ImplicitLocOpBuilder &b;
  MatrixLoop &m;
  Queries &queries;
  std::function<Tile(Value)> bufferOf;
  std::function<Value(MemRefType)> allocate;
  int64_t outerSize = 1, groups = 1;
  VectorType f32, i32;

  /// Scores: f32 [parity][token][column]; weights: [parity][group][token pair][column], as pairs of bf16.
  SmallVector<Value> scores, weightWords;
  /// Elements from row to row, of the loads that the stages read themselves.
  llvm::DenseMap<Operation *, Value> rowStrides;
  /// Keys and values that are not read where they stand: bf16 [16 tokens][32 features][token][feature],
  /// [32 tokens][feature][token].
  llvm::MapVector<Value, Value> packed;
};

} // namespace mlir::tpa::cpu

#endif // TPAC_LOWERING_CPU_MATRIXLOOPEMITTER_H
