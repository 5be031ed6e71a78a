// SPDX-License-Identifier: Apache-2.0
//
// The work item of decode and prefill: some queries and heads of one request over a range of its cached tokens.

#include "dialect/PhaseOperands.h"
#include "lowering/tile/PhasePrograms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>
#include <numbers>
#include <numeric>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::tile;

std::string tile::smallAxis(FactorizationAttr factorization, StringRef features, size_t i) {
  return factorization.getOrder() == 2 ? features.str() : features.str() + std::to_string(i);
}

std::string tile::smallName(FactorizationAttr factorization, StringRef side, size_t i) {
  std::string name = (side + "_token").str();
  return factorization.getOrder() == 2 ? name : name + std::to_string(i);
}

namespace {

class AttentionBuilder {
public:
  AttentionBuilder(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item)
      : p(p), variant(variant), schedule(schedule), item(item), n(schedule.getQueries()), h(schedule.getHeads()),
        row(p.cacheRow(item.request)) {}

  void build() {
    findRange();
    if (schedule.getItemHeads() == 0) {
      buildHeads();
      return;
    }
    // What all heads read of the queries comes before them.
    if (!readsHeads(variant.getQ()))
      loadQueryToken();
    int64_t all = variant.getHeads().getLocal();
    Value end = p.add(item.head, item.heads ? item.heads : p.index(schedule.getItemHeads()));
    scf::ForOp::create(p.b, p.loc, item.head, end, p.index(h), ValueRange(),
                       [&](OpBuilder &, Location, Value head, ValueRange) {
                         item.head = head;
                         item.heads = all % h == 0 ? Value() : p.min(p.sub(end, head), p.index(h));
                         buildHeads();
                         scf::YieldOp::create(p.b, p.loc);
                       });
  }

private:
  /// One tile of heads.
  void buildHeads() {
    buildQuery();
    Axes state = {{"n", n}, {"h", h}};
    Axes output = {{"n", n}, {"h", h}, {"e", variant.getValueFeatures()}};
    SmallVector<Value> carried = {p.fill(-std::numeric_limits<double>::infinity(), state), p.fill(0.0, state),
                                  p.fill(0.0, output)};
    // Blocks that every query sees whole need no mask; a window's lower edge runs through all others.
    Value masked = first;
    if (!variant.getWindow()) {
      Value whole = p.max(p.sub(safe, first), p.index(0));
      Value blocks = arith::DivSIOp::create(p.b, p.loc, whole, p.index(schedule.getTokens()));
      masked = p.add(first, arith::MulIOp::create(p.b, p.loc, blocks, p.index(schedule.getTokens())));
      carried = buildBlocks(first, masked, carried, /*isMasked=*/false);
    }
    carried = buildBlocks(masked, last, carried, /*isMasked=*/true);
    finish(carried);
  }

  // --- Which cached tokens ---

  void findRange() {
    Value length = p.readIndex("lengths", item.request);
    stored = p.min(item.end, length);
    limit = length;
    Value lastLimit = length;
    if (variant.getCausal()) {
      // Bottom-right: query n of the request's N sees m <= length - N + n.
      Value requestEnd = p.readIndex("token_start", p.add(item.request, p.index(1)));
      limit = p.add(p.sub(length, p.sub(requestEnd, item.token)), p.index(1));
      lastLimit = item.tokens ? p.sub(p.add(limit, item.tokens), p.index(1)) : limit;
    }
    first = item.begin;
    if (variant.getWindow()) {
      first = p.max(first, p.sub(limit, p.index(*variant.getWindow())));
      // The mask hides what precedes the window. All other ranges begin at multiples of `tokens`.
      int64_t step = std::min(schedule.getTokens(), schedule.getValueBlock());
      if (auto found = pages())
        step = found->run;
      if (step != 0)
        first = p.sub(first, arith::RemUIOp::create(p.b, p.loc, first, p.index(step)));
    }
    safe = p.min(stored, limit);
    last = p.min(stored, lastLimit);
  }

  // --- Queries ---

  Axes sizesOf(FactorizationAttr factorization, StringRef features) {
    Axes axes = {{"n", n}, {"m", schedule.getTokens()}, {"h", h}, {"r", factorization.getRank()}};
    for (auto [i, factor] : llvm::enumerate(factorization.getToken()))
      axes.emplace_back(
          axisNames.emplace_back(std::make_unique<std::string>(smallAxis(factorization, features, i)))->c_str(),
          factor.getSize());
    return axes;
  }

  /// Dimensions of a rank: the axis of heads (one_hot), one rank (other maps), or all ranks along r.
  Along rankOf(FactorizationAttr factorization, std::optional<int64_t> rank) {
    if (factorization.hasMap(HeadMap::one_hot))
      return {item.head, "h", item.heads};
    if (!factorization.getHead().isFixed())
      return rank ? Along{p.index(*rank)} : Along{p.index(0), "r"};
    if (factorization.hasMap(HeadMap::ones))
      return {p.index(0)};
    // groups: a tile's heads all read one rank (checkSchedule).
    HeadsAttr heads = variant.getHeads();
    Value global = p.add(item.head, p.index(heads.getBegin()));
    Value scaled = arith::MulIOp::create(p.b, p.loc, global, p.index(factorization.getRank()));
    return {arith::DivSIOp::create(p.b, p.loc, scaled, p.index(heads.getTotal()))};
  }

  Value applyFunction(HeadFactorAttr head, Value tile) {
    if (head.getFunction() == HeadFunction::identity)
      return tile;
    auto type = ProgramBuilder::typeOf(tile).withElementType(p.arithmetic);
    return tile::HeadFunctionOp::create(p.b, p.loc, type, head.getFunction(), tile);
  }

  /// The item's heads of a head factor after its function; `leading` are the tensor's dimensions before the heads.
  Value loadHeads(HeadFactorAttr head, StringRef name, ArrayRef<Along> leading, Axes axes) {
    SmallVector<Along> dimensions(leading);
    int64_t all = variant.getHeads().getLocal();
    if (head.getFunction() != HeadFunction::softmax || h == all) {
      dimensions.push_back({item.head, "h", item.heads});
      return applyFunction(head, p.load(name, dimensions, axes));
    }
    // The function runs over all heads; then the item's are taken.
    dimensions.push_back({p.index(0), "h"});
    llvm::find_if(axes, [](auto &axis) { return axis.first == "h"; })->second = all;
    Value tile = applyFunction(head, p.load(name, dimensions, axes));
    TileType type = ProgramBuilder::typeOf(tile);
    SmallVector<int64_t> sizes(type.getSizes());
    sizes[type.indexOf("h")] = h;
    return tile::SliceOp::create(p.b, p.loc, TileType::get(p.b.getContext(), type.getAxes(), sizes, p.arithmetic), tile,
                                 "h", "h", item.head);
  }

  Value rope(Value tile, StringRef axis, Value positions) {
    TileType type = ProgramBuilder::typeOf(tile);
    TileType tokens = ProgramBuilder::typeOf(positions);
    Axes axes;
    if (!type.hasAxis(tokens.getAxes().front().getValue()))
      axes.emplace_back(tokens.getAxes().front().getValue(), tokens.getSizes().front());
    for (auto [name, size] : llvm::zip(type.getAxes(), type.getSizes()))
      axes.emplace_back(name.getValue(), size);
    auto result = TileType::get(p.b.getContext(), axes, p.arithmetic);
    return tile::RopeOp::create(p.b, p.loc, result, variant.getRope(), variant.getRopeBlock(), axis, tile, positions);
  }

  /// Small factors joined to one feature axis.
  Value joined(FactorizationAttr factorization, StringRef features, ArrayRef<Value> factors) {
    Value result = factors.front();
    std::string fast = smallAxis(factorization, features, 0);
    for (size_t i = 1; i < factors.size(); ++i) {
      result = p.outer(result, factors[i], fast, smallAxis(factorization, features, i), features);
      fast = features.str();
    }
    return result;
  }

  /// Whether the token factors that `factorization`'s map names depend on the item's heads.
  static bool readsHeads(FactorizationAttr factorization) {
    return factorization.hasMap(HeadMap::one_hot) || factorization.hasMap(HeadMap::groups);
  }

  /// A query factor's dimensions: its tokens, unless it is learned, and `trailing`.
  SmallVector<Along> queryDimensions(bool learned, ArrayRef<Along> trailing) {
    SmallVector<Along> result;
    if (!learned)
      result.push_back({item.token, "n", item.tokens});
    llvm::append_range(result, trailing);
    return result;
  }

  /// The queries' token factors, rotated: {n, r, d}.
  void loadQueryToken() {
    FactorizationAttr q = variant.getQ();
    Axes axes = sizesOf(q, keyFeatures);
    SmallVector<Value> factors;
    for (auto [i, factor] : llvm::enumerate(q.getToken())) {
      std::string axis = smallAxis(q, keyFeatures, i);
      factors.push_back(p.load(smallName(q, "q", i),
                               queryDimensions(factor.isLearned(), {rankOf(q, std::nullopt), {p.index(0), axis}}),
                               axes));
    }
    if (variant.getRope()) {
      Value positions = p.load("positions", {{item.token, "n", item.tokens}}, axes);
      factors.front() = rope(factors.front(), smallAxis(q, keyFeatures, 0), positions);
    }
    queryToken = joined(q, keyFeatures, factors);
    // The factor on the raw sum over ranks; base 2 from here on, unless a cap needs natural logits.
    scale = variant.getScaleValue() * (variant.getSoftcap() ? 1.0 : std::numbers::log2e);
    if (schedule.getScore() == ScoreOrder::factored && !q.getHead().isFixed())
      queryTokenParts = partsOf(p.constantMul(queryToken, scale));
  }

  void buildQuery() {
    FactorizationAttr q = variant.getQ();
    if (schedule.getItemHeads() == 0 || readsHeads(q))
      loadQueryToken();
    if (!q.getHead().isFixed())
      queryHead = loadHeads(q.getHead(), "q_head", queryDimensions(q.getHead().isLearned(), {{p.index(0), "r"}}),
                            sizesOf(q, keyFeatures));
    if (schedule.getScore() == ScoreOrder::factored && queryHead)
      return;
    Value merged = queryHead ? p.dot(queryHead, queryToken, {"n", "h", "d"}) : queryToken;
    if (variant.getQueryPrecision() == QueryPrecision::storage) {
      // Rounded once, with its rank factor; what is left of the scale goes to the logits.
      merged = p.convert(p.constantMul(merged, q.getRankFactor()), variant.getTypes().getActivation());
      logitFactor = scale / q.getRankFactor();
    } else {
      merged = p.constantMul(merged, scale);
    }
    queryParts = schedule.getQueryParts() == 2 ? split(merged) : SmallVector<Value>{toOperand(merged)};
  }

  Value toOperand(Value tile) { return p.convert(tile, schedule.getOperands()); }

  /// A low and a high part.
  SmallVector<Value> split(Value tile) {
    auto narrow = ProgramBuilder::typeOf(tile).withElementType(schedule.getOperands());
    auto split = tile::SplitOp::create(p.b, p.loc, narrow, narrow, tile);
    return {split.getLow(), split.getHigh()};
  }

  /// `tile` as operands of products: itself, or two parts where it is more precise than they are and the schedule keeps
  /// the query in two parts.
  SmallVector<Value> partsOf(Value tile) {
    bool isPrecise = ProgramBuilder::typeOf(tile).getElementType() == p.arithmetic;
    return schedule.getQueryParts() == 2 && isPrecise ? split(tile) : SmallVector<Value>{toOperand(tile)};
  }

  /// Contraction of sums of parts to the axes `result`; the product of two low parts is less than what either lacks.
  Value dotOfParts(ArrayRef<Value> lhs, ArrayRef<Value> rhs, ArrayRef<StringRef> result) {
    Value sum;
    for (auto [j, right] : llvm::enumerate(rhs))
      for (auto [i, left] : llvm::enumerate(lhs))
        if (i + 1 == lhs.size() || j + 1 == rhs.size())
          sum = p.dot(left, right, result, sum);
    return sum;
  }

  // --- Keys and values of one block ---

  /// The block of cached tokens at hand.
  struct Block {
    Value token;
    /// How many of the block's tokens exist; null where all do.
    Value tokens;
    /// K's token factors, as stored and as the score reads them.
    std::map<std::string, Value> storedKeys, scoredKeys;
  };

  /// How a block's tokens lie in pages, if they do. A page holds whole blocks of V, so runs of tokens do, too.
  std::optional<ProgramBuilder::Pages> pages() const {
    if (schedule.getPageSize() == 0)
      return std::nullopt;
    return ProgramBuilder::Pages{tpac::blockTableName, std::gcd(schedule.getTokens(), schedule.getPageSize())};
  }

  /// A block of the cache of `name`.
  Value loadCached(const Twine &name, const Block &block, ArrayRef<Along> trailing, const Axes &axes) {
    SmallVector<Along> dimensions = {{row}, {block.token, "m", block.tokens}};
    llvm::append_range(dimensions, trailing);
    return p.load((name + "_cache").str(), dimensions, axes, pages());
  }

  Value loadToken(const Block &block, FactorizationAttr factorization, StringRef side, StringRef features, size_t i,
                  Along rank) {
    std::string axis = smallAxis(factorization, features, i);
    std::string name = smallName(factorization, side, i);
    Along feature = {p.index(0), axis};
    Axes axes = sizesOf(factorization, features);
    if (factorization.getToken()[i].isLearned())
      return p.load(name, {rank, feature}, axes);
    SmallVector<Along> trailing = {rank, feature};
    if (side == "v" && schedule.getValueBlock() != 0)
      trailing.push_back({p.index(0), "m"});
    return loadCached(name, block, trailing, axes);
  }

  static std::string keyOf(FactorizationAttr factorization, std::optional<int64_t> rank) {
    if (factorization.hasMap(HeadMap::one_hot))
      return "heads";
    return rank ? std::to_string(*rank) : "map";
  }

  /// K's token factor of one rank, {m, d}: as cached, or rotated where keys are rotated on read.
  Value keyToken(Block &block, std::optional<int64_t> rank, bool asStored) {
    FactorizationAttr k = variant.getK();
    bool rotate = variant.rotatesKeysOnRead() && !asStored;
    auto &known = rotate ? block.scoredKeys : block.storedKeys;
    Value &result = known[keyOf(k, rank)];
    if (result)
      return result;
    return result = loadKey(block, rankOf(k, rank), rotate);
  }

  /// K's token factor at `rank`, rotated where asked.
  Value loadKey(const Block &block, Along rank, bool rotate) {
    FactorizationAttr k = variant.getK();
    SmallVector<Value> factors;
    for (size_t i = 0; i < k.getToken().size(); ++i)
      factors.push_back(loadToken(block, k, "k", keyFeatures, i, rank));
    if (rotate) {
      Value positions = loadCached("key_positions", block, {}, sizesOf(k, keyFeatures));
      factors.front() = rope(factors.front(), smallAxis(k, keyFeatures, 0), positions);
    }
    return joined(k, keyFeatures, factors);
  }

  Value valueToken(Block &block, std::optional<int64_t> rank) {
    FactorizationAttr v = variant.getV();
    if (!v.isShared()) {
      SmallVector<Value> factors;
      for (size_t i = 0; i < v.getToken().size(); ++i)
        factors.push_back(loadToken(block, v, "v", valueFeatures, i, rankOf(v, rank)));
      return joined(v, valueFeatures, factors);
    }
    // K's first features. V reads the ranks of its own head factor, which need not be the ones that K's map names.
    Value key;
    if (v.hasMap(HeadMap::one_hot) == variant.getK().hasMap(HeadMap::one_hot) &&
        v.getHead().isFixed() == variant.getK().getHead().isFixed()) {
      key = keyToken(block, rank, variant.getVSees() != ValueSees::rotated);
    } else {
      bool rotate = variant.rotatesKeysOnRead() && variant.getVSees() == ValueSees::rotated;
      key = loadKey(block, rankOf(v, rank), rotate);
    }
    TileType type = ProgramBuilder::typeOf(key);
    Axes axes;
    for (auto [axis, size] : llvm::zip(type.getAxes(), type.getSizes()))
      if (axis.getValue() == keyFeatures)
        axes.emplace_back(valueFeatures, variant.getValueFeatures());
      else
        axes.emplace_back(axis.getValue(), size);
    return tile::SliceOp::create(p.b, p.loc, TileType::get(p.b.getContext(), axes, type.getElementType()), key,
                                 keyFeatures, valueFeatures, /*offset=*/Value());
  }

  /// A head factor of one rank, {m, h} or, learned, {h}; null where fixed.
  Value headFactor(const Block &block, FactorizationAttr factorization, StringRef side, int64_t rank) {
    HeadFactorAttr head = factorization.getHead();
    Along heads = {item.head, "h", item.heads};
    Axes axes = sizesOf(factorization, keyFeatures);
    std::string name = (side + "_head").str();
    // A cached head factor has been through its function.
    if (head.isContextual())
      return loadCached(name, block, {{p.index(rank)}, heads}, axes);
    return loadHeads(head, name, {{p.index(rank)}}, axes);
  }

  /// `tile` times what one rank multiplies by: its head factor and, where stored beside the rows, their scales.
  Value weighted(const Block &block, Value tile, Side side, std::optional<int64_t> rank) {
    FactorizationAttr factorization = getFactorization(variant, side);
    if (rank)
      tile = p.mul(tile, headFactor(block, factorization, side == Side::k ? "k" : "v", *rank));
    if (auto source = getScaleSource(variant, side)) {
      StringRef name = *source == Side::k ? "k_scale" : "v_scale";
      tile = p.mul(tile, loadCached(name, block, {rankOf(factorization, rank)}, sizesOf(factorization, keyFeatures)));
    }
    return tile;
  }

  /// The ranks that a side sums over: none but one nameless where its head factor is fixed.
  static SmallVector<std::optional<int64_t>> ranksOf(FactorizationAttr factorization) {
    if (factorization.getHead().isFixed())
      return {std::nullopt};
    SmallVector<std::optional<int64_t>> ranks;
    for (int64_t s = 0; s < factorization.getRank(); ++s)
      ranks.push_back(s);
    return ranks;
  }

  // --- Score ---

  /// Queries times a tile of keys {m, d} or {m, h, d}. Keys that are computed are more precise than narrow operands; a
  /// query that is kept precise is worth as much of them.
  Value product(Value keys) {
    SmallVector<Value> keyParts = partsOf(keys);
    if (!queryParts.empty())
      return dotOfParts(queryParts, keyParts, {"n", "h", "m"});
    // factored: all heads share <BQ, BK>.
    Value shared = dotOfParts(queryTokenParts, keyParts, {"n", "r", "h", "m"});
    return dotOfParts(partsOf(queryHead), partsOf(shared), {"n", "h", "m"});
  }

  Value score(Block &block) {
    FactorizationAttr k = variant.getK();
    Value logits;
    auto accumulate = [&](Value sum, Value term) { return sum ? p.addTiles(sum, term) : term; };
    if (schedule.getScore() == ScoreOrder::rebuilt) {
      Value keys;
      for (auto rank : ranksOf(k))
        keys = accumulate(keys, weighted(block, keyToken(block, rank, false), Side::k, rank));
      logits = product(keys);
    } else {
      for (auto rank : ranksOf(k))
        logits = accumulate(logits, full(weighted(block, product(keyToken(block, rank, false)), Side::k, rank)));
    }
    return p.constantMul(full(logits), logitFactor);
  }

  /// Repeats a tile along what nothing of it depends on.
  Value full(Value tile) { return p.broadcast(tile, {{"n", n}, {"h", h}, {"m", schedule.getTokens()}}); }

  // --- Value ---

  Value accumulateValues(Block &block, Value probabilities, Value accumulator) {
    FactorizationAttr v = variant.getV();
    Axes tokens = {{"m", schedule.getTokens()}};
    if (schedule.getValue() == ValueOrder::rebuilt) {
      Value values;
      for (auto rank : ranksOf(v)) {
        Value term = weighted(block, p.broadcast(valueToken(block, rank), tokens), Side::v, rank);
        values = values ? p.addTiles(values, term) : term;
      }
      return p.dot(toOperand(probabilities), toOperand(values), {"n", "h", "e"}, accumulator);
    }
    for (auto rank : ranksOf(v)) {
      Value weights = weighted(block, probabilities, Side::v, rank);
      Value values = p.broadcast(valueToken(block, rank), tokens);
      accumulator = p.dot(toOperand(weights), toOperand(values), {"n", "h", "e"}, accumulator);
    }
    return accumulator;
  }

  // --- Blocks ---

  SmallVector<Value> buildBlocks(Value begin, Value end, ValueRange state, bool isMasked) {
    auto loop = scf::ForOp::create(p.b, p.loc, begin, end, p.index(schedule.getTokens()), state,
                                   [&](OpBuilder &, Location, Value token, ValueRange carried) {
                                     Block block = {token, isMasked ? p.sub(stored, token) : Value(), {}, {}};
                                     scf::YieldOp::create(p.b, p.loc, buildBlock(block, carried, isMasked));
                                   });
    return llvm::to_vector_of<Value>(loop.getResults());
  }

  SmallVector<Value> buildBlock(Block &block, ValueRange carried, bool isMasked) {
    Value logits = score(block);
    TileType type = ProgramBuilder::typeOf(logits);
    if (FloatAttr softcap = variant.getSoftcap()) {
      logits = tile::SoftcapOp::create(p.b, p.loc, type, logits, softcap);
      logits = p.constantMul(logits, std::numbers::log2e);
    }
    if (isMasked) {
      IntegerAttr window = variant.getWindow() ? p.b.getI64IntegerAttr(*variant.getWindow()) : IntegerAttr();
      logits = tile::MaskOp::create(p.b, p.loc, type, logits, block.token, limit, stored, variant.getCausal(), window);
    }
    Type state = carried[0].getType();
    auto step = tile::SoftmaxStepOp::create(p.b, p.loc, type, state, state, state, logits, carried[0], carried[1]);
    Value accumulator = p.mul(carried[2], step.getCorrection());
    return {step.getNewMax(), step.getNewSum(), accumulateValues(block, step.getProbabilities(), accumulator)};
  }

  void finish(ValueRange state) {
    auto result =
        tile::FinishOp::create(p.b, p.loc, state[2].getType(), state[0].getType(), state[2], state[0], state[1]);
    Value out = p.constantMul(result.getOut(), variant.getV().getRankFactor());
    Along tokens = {item.token, "n", item.tokens};
    Along heads = {item.head, "h", item.heads};
    if (item.part) {
      p.store(out, "part_out", {tokens, {item.part}, heads, {p.index(0), "e"}});
      p.store(result.getLse(), "part_lse", {tokens, {item.part}, heads});
      return;
    }
    p.store(out, "out", {tokens, heads, {p.index(0), "e"}});
    p.store(result.getLse(), "lse", {tokens, heads});
  }

  ProgramBuilder &p;
  VariantAttr variant;
  ScheduleAttr schedule;
  WorkItem item;
  int64_t n, h;
  /// Of the cache: the item's request, or its row of the table of pages.
  Value row;

  /// Axis names that are made up here live as long as the builder.
  std::vector<std::unique_ptr<std::string>> axisNames;
  /// Cached tokens [first, last) that some query sees; below `safe` all do; below `stored` they exist. `limit`: end of
  /// what the tile's first query sees.
  Value first, last, safe, stored, limit;
  /// The merged query as a sum of parts {n, h, d}; where the score is factored there are none, but parts of the query's
  /// token factors {n, r, d}.
  SmallVector<Value> queryParts, queryTokenParts;
  Value queryHead, queryToken;
  /// Factor on the raw sum over ranks, and what of it the query does not hold.
  double scale = 1.0, logitFactor = 1.0;
};

} // namespace

void tile::buildAttentionItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item) {
  AttentionBuilder(p, variant, schedule, item).build();
}
