// SPDX-License-Identifier: Apache-2.0
//
// Emits the body of a kernel from the tile program of a work item. Tiles are computed where they are needed: elements
// of setup tiles by the thread that asks for them, tiles of a block of cached tokens in tensor core fragments.

#ifndef TPAC_LOWERING_GPU_EMITTER_H
#define TPAC_LOWERING_GPU_EMITTER_H

#include "lowering/gpu/FragmentLayout.h"
#include "lowering/gpu/Isa.h"
#include "lowering/gpu/Machine.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

#include <map>

namespace mlir::tpa::gpu {

/// Where in the tiles' common index space something happens: an i32 index per axis.
using Point = llvm::SmallDenseMap<StringAttr, Value, 8>;

/// How a kernel's threads and shared memory are used; from the schedule.
struct Plan {
  RowMap rows = {1, 1, 1, 1};
  /// Cached tokens per block; blocks in flight per group; groups of warps that take blocks in turn. A kernel without
  /// blocks has no stages.
  int64_t tokens = 0, stages = 0, groups = 1;
  /// Bulk copies and mbarriers, or cp.async.
  bool bulk = false;
  /// Bytes of a token's row in the cache, its planes.
  int64_t rowBytes = 0, planes = 1;
  int64_t headTiles = 1, totalHeads = 0;
  /// Tokens per page of the cache, and of those the tokens of a block that lie in one page; 0: no pages.
  int64_t pageSize = 0, run = 0;
  /// bf16 or f16: what the tensor cores multiply.
  Type operandType;
  /// Parts that queries are rounded to.
  int64_t queryParts = 2;
  /// Of a loop over blocks: features of its accumulators, scores per row and token.
  int64_t features = 0, scores = 1;

  /// Of a thread block.
  int64_t threads = 0;
  /// Whether no tensor that is read is written by the kernel.
  bool readsConstants = true;

  /// Warps that share the columns of an accumulator.
  int64_t columnParts = 1;
  int64_t warpsOfGroup() const { return rows.warps() * columnParts; }
  bool widens() const { return widensOnce(rows, columnParts); }
  int64_t warps() const { return warpsOfGroup() * groups; }
  int64_t stageBytes() const { return tokens * rowBytes; }
  /// Copies that fill a stage: as many as a block has pages.
  int64_t pieces() const { return pageSize == 0 ? 1 : tokens / run; }
};

/// What an argument of the item's function stands for.
struct Memory {
  enum class Kind { global, cached, partOut, partLse };
  Kind kind = Kind::global;
  Value pointer;
  /// In place of `pointer`: computes it where it is needed, so that it takes no registers until then.
  std::function<Value()> locate;
  /// Of each dimension, i64 in elements; none where there is one dimension, which is contiguous.
  SmallVector<Value> strides;
  CacheSegment segment;
};

/// What a conversion that changes no value that a product reads was made from.
Value throughConversions(Value tile);

/// Whether `dot` is of token factors of queries and of a block's keys, rank by rank; whether it sums over ranks of
/// queries what such a product has left.
bool isRankProduct(tile::DotOp dot);
bool sumsRankProducts(tile::DotOp dot);

/// Whether an axis is of queries, whose tokens and heads are the rows of a warp's tiles.
bool isRowAxis(StringAttr name);

/// What `tile` is rounded from, or it.
Value withoutRounding(Value tile);

/// Of a product of token factors of queries with a learned row that is rotated by each token's position, the rotation:
/// with the pairs of q and b as complex numbers, <q, R b> is <q conj(b), R 1>, so that queries take b and all ranks'
/// keys are the same, cosines and sines. Null elsewhere.
tile::RopeOp turnOf(tile::DotOp dot);
/// The keys that `dot` reads: where they are turns those of the first such product of the block.
Value keysOf(tile::DotOp dot);

/// Whether `other` is a tile rounded and `tile` what the rounding has left.
bool isLowPartOf(Value tile, Value other);

/// Address of a constant array of `module` in global memory: constant memory serves one address at a time, and lanes
/// have entries of their own. Equal ones are one.
Value constantTable(ImplicitLocOpBuilder &b, ModuleOp module, StringRef prefix, Type element, DenseElementsAttr value);

/// Whether elements of the result are costly enough to be computed once, into shared memory.
bool isKeptOp(Operation *op);

/// Index arguments of the item's function are bound to i32 values, memrefs to memory.
class Emitter {
public:
  Emitter(ImplicitLocOpBuilder &builder, Block *entry, const Plan &plan, Value sharedMemory);

  void bind(Value argument, Value value) { scalars[argument] = value; }
  void bind(Value argument, const Memory &memory) { memories[argument] = memory; }
  const Memory &memoryOf(Value argument) { return memories[argument]; }
  /// tile.table_row; empty `starts` are a null pointer.
  Value tableRow(const Memory &starts, Value request);

  // --- Who this thread is, set by `begin`.

  /// Emits what does not depend on the item; call once per kernel.
  void begin();
  void identify(Value threadNumber);
  Value thread, lane, warp, group, warpInGroup;
  /// Which of the group's tiles of rows the warp has, and which columns of accumulators.
  Value rowWarp, columnWarp;
  /// The ring's next stage and its parity, carried from item to item by the caller.
  Value stage, phase;

  /// A request's cache: [token][row] of the item's plane. With pages, that plane of page 0.
  Value cacheRows;
  /// With pages: their table, the row of it that is the item's request's, and where the item's tokens end.
  Memory pageTable;
  Value pageTableRow, cachedEnd;
  /// Where an item reads and writes single elements of the cache: all of it, and its capacity in tokens.
  Value wholeCache, capacity;

  /// Emits the item's program. Threads must be together before and are after.
  LogicalResult emitItem(func::FuncOp function);

  /// Puts an i32 that all lanes of a warp have into shared memory, so that it takes no register; the result loads it.
  std::function<Value()> stash(Value value);

  /// Shared memory used, once everything is emitted.
  int64_t sharedBytes() const { return reserved; }
  /// Tensor core instructions of all warps for one block, once a loop over blocks is emitted.
  int64_t productsOfBlock() const { return blockProducts * plan.warpsOfGroup(); }

  /// Elements of the program's tiles at `point`: f32, or i32 where the tile holds integers.
  Value element(Value tile, const Point &point);
  LogicalResult emitScalar(Operation &op);
  Value scalar(Value value) { return scalars.lookup(value); }
  void setElement(Value tile, Value value) { known[tile] = value; }
  void storeElement(tile::StoreOp store, const Point &point, Value inside);
  /// Emits an item whose tiles are stored element by element; threads must be together before and are after.
  LogicalResult emitElements(func::FuncOp function);

  Isa isa;

private:
  using Values = SmallVector<Value>;
  using TileType = tile::TileType;
  /// Whether the loops over blocks have room for operands made of queries that take so many registers of each lane;
  /// else they load them from shared memory.
  bool keepsQueries(int64_t registers, ArrayRef<scf::ForOp> loops);

  // --- Shared memory: barriers, then the ring, then what emission asks for.

  int64_t reserve(int64_t bytes, int64_t alignment = 128);
  static constexpr int64_t pipelineOffset = 1024;
  int64_t pipelineBytes() const { return plan.groups * plan.stages * plan.stageBytes(); }

  // --- Elements, one at a time

  Point rowPoint(int64_t number);
  /// The same of a row of which the lane has features of an operand: of the warp's tile `rowTile` number `half`.
  Point operandPoint(int64_t rowTile, int64_t half);
  /// A tile and the indices of one of its elements.
  using ElementKey = std::pair<void *, std::vector<void *>>;
  /// Of `point`, the axes that a tile has.
  Point indicesOf(TileType type, const Point &point);
  ElementKey keyOf(Value tile, const Point &indices);
  Value compute(Operation *op, Value tile, const Point &point);
  Value loadElement(tile::LoadOp load, const Point &point);
  /// As stored; where `inside` comes back, only what it says exists.
  Value loadStored(tile::LoadOp load, const Point &point, Value &inside);
  /// Of an element of the cache outside of loops over blocks, or of a tensor.
  template <typename Op> Value elementAddress(Op op, const Point &point);
  Value mergeElement(tile::MergeOp merge, Value result, const Point &point);
  Value quantizeElement(tile::QuantizeOp quantize, Value result, const Point &point);
  Value dotElement(tile::DotOp dot, const Point &point);
  Value ropeElement(tile::RopeOp rope, const Point &point);
  Value headFunctionElement(tile::HeadFunctionOp head, const Point &point);
  /// Folds the numbers 0 .. size.
  Values reduceElements(int64_t size, ArrayRef<Value> start, llvm::function_ref<Values(Value, ArrayRef<Value>)> step);
  Value softcapOf(Value value, double cap);
  StringAttr axis(StringRef name) { return isa.b.getStringAttr(name); }

  /// Byte offset within a row of element (rank, number) of a cached tensor, swizzled by token `row`.
  Value cachedOffset(const Memory &memory, ArrayAttr axes, ValueRange indices, Type type, const Point &point,
                     Value row);
  Value swizzled(Value byteOffset, Value row);

  /// Tiles of the setup that are kept in shared memory, one f32 per element.
  void keep(Value tile);
  Point pointOf(TileType type, Value number);
  /// Keeps `wanted`, in order.
  void keepAll(ArrayRef<Value> wanted);
  bool dependsOnKept(Value tile);

  // --- Fragments

  /// Values of the warp's rows, where `layout` says; one for each of the lane's rows where the tile has no columns.
  Values fragment(Value tile);
  Values computeFragment(Value tile);
  Values dotFragment(tile::DotOp dot);
  struct SharedTile;
  struct JoinedTile;
  /// Adds the products of all of `lhs` with the other operand of `dot`, which is in shared memory: in `shared`, or what
  /// it is joined of.
  void addProducts(tile::DotOp dot, SharedTile shared, ArrayRef<Value> lhs, MutableArrayRef<Value> sums,
                   const JoinedTile *joined = nullptr);
  Values headFactorFragment(Value tile);
  /// The same as it is loaded: pairs of tokens of 16 rows, four values per 16 tokens; with tokens on rows pairs of the
  /// lane's rows, of one tile of rows after the other.
  Values packedHeadFactors(Value tile);
  Values packedFactorsOf(Value tile);
  std::function<Value(size_t)> fragmentOperand(Value tile, size_t count);
  Values operandFragments(Value tile, int64_t step, int64_t rowTile);
  Values loadQuery(int64_t offset, int64_t step, int64_t rowTile);
  size_t valuesOf(TileType type) { return layout.values(columnsOf(type)); }
  StringAttr columnAxis(TileType type);
  /// Columns of a fragment: those of the warp where warps share them.
  int64_t columnsOf(TileType type);
  /// The number of the warp's first column.
  Value firstColumn(TileType type);
  struct Logits;
  void softmaxStep(tile::SoftmaxStepOp step);
  Values mask(tile::MaskOp op, Values values);

  // --- Operands in shared memory

  struct SharedTile {
    /// Address of row 0.
    Value rows;
    int64_t rowBytes = 0;
    /// Chunk of column 0.
    Value chunk;
    Swizzle swizzle;
    StringAttr rowAxis, columnAxis;
    Type elementType;

    int64_t chunkElements() const { return chunkBytes * 8 / elementType.getIntOrFloatBitWidth(); }
    bool isNarrow() const { return elementType.getIntOrFloatBitWidth() == 8; }
  };
  /// Whether `tile` is cached as 8-bit elements.
  bool isCachedNarrow(Value tile);
  /// Whether a product reads it so, which changes the order of its other operand's columns (keys) or of its result's
  /// (values); or reads what all its elements were widened to.
  bool isNarrow(Value tile) { return !plan.widens() && isCachedNarrow(tile); }
  bool isWidened(Value tile) { return plan.widens() && isCachedNarrow(tile); }
  /// Products of all of `lhs` with one operand in shared memory, added to `sums`: in 16 columns of sums and 16
  /// contracted elements at a time.
  struct Products {
    const SharedTile &shared;
    ArrayRef<Value> lhs;
    MutableArrayRef<Value> sums;
    /// Whether the operand's rows are the columns of the result (keys), or are contracted (values).
    bool isByColumns;
    int64_t pairs, steps;
  };
  SmallVector<Values> operandsOf(const Products &products, int64_t step);
  void multiplyQuad(const Products &products, ArrayRef<Values> a, Value b0, Value b1, int64_t quad);
  void multiplyWide(const Products &products);
  void multiplyNarrow(const Products &products);
  /// A token factor of order 3 or above, from the rows of the cache: the outer product of `first`, whose columns are
  /// the first of the product's, and of smaller factors.
  struct JoinedTile {
    SharedTile first;
    int64_t features = 0;
    /// A factor's entries: bytes from the start of the row, their number, how many bytes one load may have.
    struct Entries {
      int64_t offset, count, unit;
    };
    SmallVector<Entries> others;
  };
  /// What products take of `tile`, whatever it is rounded to, without putting it together; none where they cannot.
  std::optional<JoinedTile> joinedTile(Value tile);
  Values packedEntries(const JoinedTile &joined, const JoinedTile::Entries &entries, Value laneRow, int64_t next,
                       int64_t row);
  SmallVector<Values> packedEntries(const JoinedTile &joined, Value laneRow, int64_t next, int64_t row);
  Value joinedFactor(const JoinedTile &joined, ArrayRef<Values> packed, int64_t number);
  Value joinedPair(const JoinedTile &joined, ArrayRef<Values> first, ArrayRef<Values> second, int64_t number);
  void multiplyJoined(const Products &products, const JoinedTile &joined);
  struct RankQueries;
  void multiplyJoinedRanks(const JoinedTile &joined, ArrayRef<const RankQueries *> products,
                           MutableArrayRef<Value> sums);
  // --- Tokens on rows: what is read of the cache is the first operand, queries and weights are the second.

  void multiplyTransposed(const Products &products);
  Values transposedWeights(ArrayRef<Value> values, ArrayRef<Value> factors);
  Values transposedHeadFactors(const SharedTile &shared, int64_t tokens);

  SharedTile sharedTile(Value tile);
  /// An operand of products as it is cached.
  std::optional<SharedTile> stagedOperand(Value tile);
  /// Operands that are computed into shared memory: for all blocks, by all threads; or all those of the block at hand
  /// that has `tile`, by its group, which meets before and after.
  SharedTile computeSetupTile(Value tile);
  void computeBlockTiles(Value tile);
  struct Extent;
  std::optional<Extent> extentOf(Value tile);
  SharedTile placeOf(const Extent &extent, Value rows);
  void fillElements(Value tile, const SharedTile &shared, const Extent &extent, Value first, int64_t threads);
  struct Chunks;
  bool hasChunks(Value tile, const Extent &extent);
  void fillChunks(ArrayRef<Value> tiles, ArrayRef<SharedTile> places, const Extent &extent);
  SmallVector<Value> computedTiles(Block *block);
  SmallVector<SharedTile> placesOf(ArrayRef<Value> tiles, Value buffer);
  /// Rows from `limit` on, where there is one, are zero where products contract them.
  void fillTiles(ArrayRef<Value> tiles, ArrayRef<SharedTile> places, Value limit = Value());
  void widenTiles(ArrayRef<Value> tiles, ArrayRef<SharedTile> places, Value limit);
  /// Whether a block's computed tiles can be computed beside the products of the block before it, so that the group
  /// meets once per block.
  bool canFillAhead(ArrayRef<scf::ForOp> loops);
  /// Computes those of block `number`, which is in the ring at `slot` and has `limit` tokens that exist, where
  /// `condition` says so.
  void fillAhead(scf::ForOp loop, Value number, Value limit, Value slot, Value parity, Value condition);
  void takeFilled(scf::ForOp loop, Value number);
  void syncGroup();
  /// The same where the group's warps count: by an mbarrier, as racecheck loses sight of all other barriers behind a
  /// named one that not every thread of the block comes to (docs/gpu.md).
  void meetGroup();
  /// Whether the group's warps tell by barriers when they are through with a stage; else they meet before each block.
  bool countsReaders() const { return plan.bulk && plan.warpsOfGroup() > 1; }
  Value readersBarrier(Value slot);
  /// The warp is through with a stage, where `condition` (if there is one) says so.
  void arriveAsReader(Value slot, Value condition = Value());
  Value stageAddress(Value slot);
  /// Of a loop whose products of weights and values are computed a block later, beside the exponentials of that block:
  /// the number of the accumulator among what the loop carries.
  std::optional<size_t> laggingAccumulator(scf::ForOp loop);
  /// Of what loops carry, the number of an accumulator of products with values that are the same for all tokens: the
  /// loops carry sums of weights in its place.
  std::optional<size_t> deferred;
  struct DeferredSum;
  std::optional<DeferredSum> deferredSum(scf::ForOp loop, size_t number);
  void findDeferred(ArrayRef<scf::ForOp> loops);
  bool isDeferred(tile::DotOp dot);
  Values firstDeferred(scf::ForOp loop);
  Values addDeferred(scf::ForOp loop);
  Values finishDeferred(scf::ForOp loop, Values sums);
  /// Adds a block's weights, packed as operands, times its values, which are in the ring at `slot`.
  Values addLagging(tile::DotOp dot, ValueRange weights, Value slot, Values sums);
  std::optional<SharedTile> staged(Value tile);
  Value chunkAddress(const SharedTile &tile, Value laneRow, int64_t row, int64_t chunk, Value laneChunk);
  Value laneRowOf(bool byHalves);

  // --- Loops over blocks

  // --- The factored score: token factors of queries and keys are multiplied rank by rank, tokens along the rows of the
  // tensor cores' results, which then are operands of the products with the queries' head factors.

  void prepareRanks(ArrayRef<scf::ForOp> loops);
  void loadRanks(ArrayRef<scf::ForOp> loops);
  Values rankFragment(tile::DotOp dot);
  Values packedRanks(Value tile);
  Values headFragment(tile::DotOp dot);
  /// Of 16 tokens from `first` on, A operands of 16 features each, from step `step` on: of one step, or of two where
  /// elements have 8 bits.
  SmallVector<Values> keyOperands(const SharedTile &keys, int64_t first, int64_t step, int64_t steps);

  LogicalResult emitChain(ArrayRef<scf::ForOp> loops);
  LogicalResult emitBlock(scf::ForOp loop);
  void prepareQueries(ArrayRef<scf::ForOp> loops);
  /// The pairs of columns of 16 that a lane has of an A operand, in the order of its registers.
  using ColumnPairs = std::array<std::pair<Value, Value>, 2>;
  ColumnPairs operandColumns(Value step, bool isPermuted);
  /// The sum over ranks that `operand` is made of, element by element, where tensor cores can compute it: of head
  /// factors in their type.
  tile::DotOp rankSum(Value operand);
  /// Its head factors, as A operands: of one 16 rows after the other, of 16 ranks after 16 ranks.
  Values rankOperands(tile::DotOp dot);
  /// Computes the elements of `dot` at the lane's rows and `columns` of axis `feature`.
  void sumRanks(tile::DotOp dot, ArrayRef<Value> heads, StringAttr feature, Value step, bool isPermuted,
                const ColumnPairs &columns);
  /// The page of a token, by a table [requests, entries].
  Value findPage(const Memory &table, Value row, Value token);
  /// The pages of the block from `token` on, one per piece; of the item's last tokens where there is no such block. The
  /// item must have tokens: `isAny`.
  Values findPages(Value token);
  Values findPagesIf(Value isAny, ValueRange tokens);
  /// `readersParity`, where the group's warps count: of the last turn in which they read the stage.
  void issueCopies(Value stageNumber, Value token, Value isNeeded, ValueRange pages, Value readersParity);
  void clearTail(Value limit);
  void mergeGroups(ArrayRef<scf::ForOp> loops);
  void assign(Value tile, ValueRange values);
  void storeFragments(tile::StoreOp store);

  /// What is known of elements, fragments and addresses; nested regions see what is outside of them.
  struct Scope {
    Emitter &emitter;
    explicit Scope(Emitter &emitter);
    ~Scope();
  };

  Plan plan;
  FragmentLayout layout;
  Value sharedMemory;
  /// bf16 or f16: what the tensor cores multiply.
  Type operandType;
  llvm::DenseMap<Value, Value> scalars;
  llvm::DenseMap<Value, Memory> memories;
  llvm::DenseMap<Value, Value> known;
  std::vector<std::map<ElementKey, Value>> elementScopes;
  std::vector<llvm::DenseMap<Value, Values>> fragmentScopes;
  std::vector<llvm::DenseMap<Value, SharedTile>> tileScopes;
  std::vector<llvm::DenseMap<Value, Values>> packedScopes;

  /// Setup tiles in shared memory: byte offset.
  llvm::DenseMap<Value, int64_t> kept;
  /// Operands of products that are made of queries: byte offset of [tile of rows of group][step][lane] x what `layout`
  /// says of one lane.
  llvm::DenseMap<Value, int64_t> queryFragments;
  llvm::DenseMap<int64_t, int64_t> querySteps;
  llvm::DenseMap<Value, Values> queryRegisters;
  /// Parts of the queries' token factors as B operands, in shared memory: [query][8 ranks][step][lane] x 8 bytes from
  /// `offset` on, or in registers, for each 16 rows of the warp. Parts of head factors as A operands: for each 16 rows
  /// and 8 ranks two values.
  struct RankQueries {
    int64_t offset = 0, tiles = 0, steps = 0;
    bool hasTokens = false;
    tile::RopeOp turn;
    Values registers;
  };
  /// By the query's tile and the learned row that it takes, if any.
  using RankKey = std::pair<Value, Value>;
  llvm::MapVector<RankKey, RankQueries> rankQueries;
  /// Learned rows that queries take, each once, whichever loop loads it.
  SmallVector<tile::LoadOp> learnedRows;
  RankKey rankKey(tile::DotOp dot);
  Value turnedElement(Value part, tile::RopeOp rope, const Point &point);
  llvm::MapVector<Value, Values> rankHeads;
  std::pair<Value, Value> rankQuery(const RankQueries &queries, int64_t rowTile, int64_t rankTile, int64_t step);
  /// Whether the correction of a softmax step is not 1.
  llvm::DenseMap<Value, Value> isMoved;

  Value laneGroup, lanePair; // lane / 4, 2 * (lane % 4)
  /// The first column of which the lane has values of a fragment.
  Value laneColumn;
  Values row, rowQuery, rowHead, rowInside;
  /// Query token and head of the rows of which the lane has operands.
  Values operandQuery, operandHead;
  Value stageRows;
  /// Whether the group has met in the block at hand.
  bool hasMet = false;
  Value policy;
  int64_t reserved = 0, blockProducts = 0;
  /// Of the groups' barriers.
  int64_t meetingOffset = 0;
  llvm::DenseMap<Value, SharedTile> setupTiles;
  /// Of a block's computed tiles one after the other: bytes, of all groups and buffers, and where they are. Loops that
  /// follow each other share them.
  SmallVector<std::pair<int64_t, int64_t>> computedPlaces;
  /// Behind the groups' merge: of each four values of the accumulator the number of its 8 columns, and whether they
  /// exist (null: they do). Empty where every warp has all columns.
  SmallVector<std::pair<Value, Value>> mergedQuads;
  /// Whether columns of the accumulator are in the order in which narrow values come.
  std::optional<bool> hasNarrowValues;
  LogicalResult status = success();
  void fail(Operation *op, const Twine &message);
};

} // namespace mlir::tpa::gpu

#endif // TPAC_LOWERING_GPU_EMITTER_H
