// SPDX-License-Identifier: Apache-2.0
//
// The work items of append, of merge, and of merging the parts of a split cache.

#include "dialect/PhaseOperands.h"
#include "lowering/tile/PhasePrograms.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::tile;

namespace {

class AppendBuilder {
public:
  AppendBuilder(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item)
      : p(p), variant(variant), schedule(schedule), item(item), n(schedule.getQueries()),
        slot(p.add(p.readIndex("lengths", item.request), p.sub(item.token, p.readIndex("token_start", item.request)))),
        row(p.cacheRow(item.request)) {}

  void build() {
    SmallVector<Value> keyScales = storeSide(Side::k, {});
    storeSide(Side::v, keyScales);
    if (variant.rotatesKeysOnRead())
      storeCached(p.load("positions", {tokens()}, {{"n", n}}), "key_positions", {});
  }

private:
  Along tokens() const { return {item.token, "n", item.tokens}; }

  /// Stores the item's tokens in the cache of `name`. They may begin anywhere in a page.
  void storeCached(Value tile, const Twine &name, ArrayRef<Along> trailing) {
    SmallVector<Along> dimensions = {{row}, {slot, "n", item.tokens}};
    llvm::append_range(dimensions, trailing);
    std::optional<ProgramBuilder::Pages> pages;
    if (schedule.getPageSize() != 0)
      pages = {tpac::blockTableName, /*run=*/1};
    p.store(tile, (name + "_cache").str(), dimensions, pages);
  }

  /// Stores what the cache holds of K or V; returns the scales of its quantised rows, each {n, r}.
  SmallVector<Value> storeSide(Side side, ArrayRef<Value> keyScales) {
    FactorizationAttr factorization = getFactorization(variant, side);
    StringRef name = side == Side::k ? "k" : "v";
    int64_t rank = factorization.getLocalRank(variant.getHeads());
    Along ranks = {p.index(0), "r"};
    SmallVector<Value> scales;
    for (auto [i, factor] : llvm::enumerate(factorization.getToken())) {
      if (!factor.isContextual())
        continue;
      std::string tensor = smallName(factorization, name, i);
      Along feature = {p.index(0), "d"};
      Value token = p.load(tensor, {tokens(), ranks, feature}, {{"n", n}, {"r", rank}, {"d", factor.getSize()}});
      if (i == 0 && side == Side::k && variant.getRope() && !variant.rotatesKeysOnRead()) {
        Value positions = p.load("positions", {tokens()}, {{"n", n}});
        auto type = ProgramBuilder::typeOf(token).withElementType(p.arithmetic);
        token =
            tile::RopeOp::create(p.b, p.loc, type, variant.getRope(), variant.getRopeBlock(), "d", token, positions);
      }
      if (variant.getTypes().isQuantized()) {
        // Scales are in the type of the arithmetic, and so are the quotients.
        token = p.convert(token, p.arithmetic);
        auto values = ProgramBuilder::typeOf(token).withElementType(variant.getTypes().getToken());
        auto scale = TileType::get(p.b.getContext(), Axes{{"n", n}, {"r", rank}}, p.arithmetic);
        auto quantized = tile::QuantizeOp::create(p.b, p.loc, values, scale, token, "d");
        token = quantized.getValues();
        scales.push_back(quantized.getScale());
      }
      SmallVector<Along> trailing = {ranks, feature};
      if (side == Side::v && schedule.getValueBlock() != 0)
        trailing.push_back({p.index(0), "n"});
      storeCached(token, tensor, trailing);
    }
    if (factorization.isShared())
      scales = llvm::to_vector(keyScales);
    storeHead(factorization, name, rank, scales);
    if (storesScale(variant, side)) {
      Value product = scales.front();
      for (Value scale : ArrayRef(scales).drop_front())
        product = p.mul(product, scale);
      storeCached(product, name + "_scale", {ranks});
    }
    return scales;
  }

  void storeHead(FactorizationAttr factorization, StringRef name, int64_t rank, ArrayRef<Value> scales) {
    HeadFactorAttr factor = factorization.getHead();
    if (!factor.isContextual())
      return;
    std::string tensor = (name + "_head").str();
    SmallVector<Along> trailing = {{p.index(0), "r"}, {p.index(0), "h"}};
    SmallVector<Along> dimensions = {tokens()};
    llvm::append_range(dimensions, trailing);
    Value head = p.load(tensor, dimensions, {{"n", n}, {"r", rank}, {"h", variant.getHeads().getLocal()}});
    if (factor.getFunction() != HeadFunction::identity)
      head = tile::HeadFunctionOp::create(p.b, p.loc, ProgramBuilder::typeOf(head).withElementType(p.arithmetic),
                                          factor.getFunction(), head);
    for (Value scale : scales)
      head = p.mul(head, scale);
    storeCached(head, tensor, trailing);
  }

  ProgramBuilder &p;
  VariantAttr variant;
  ScheduleAttr schedule;
  const WorkItem &item;
  int64_t n;
  /// Slot of the item's first token, in this row of the cache.
  Value slot, row;
};

} // namespace

void tile::buildAppendItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item) {
  AppendBuilder(p, variant, schedule, item).build();
}

void tile::buildMergeItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item) {
  Axes axes = {{"n", schedule.getQueries()}, {"h", schedule.getHeads()}, {"e", variant.getValueFeatures()}};
  SmallVector<Along> state = {{item.token, "n", item.tokens}, {item.head, "h", item.heads}};
  SmallVector<Along> output(state);
  output.push_back({p.index(0), "e"});
  auto load = [&](StringRef name, ArrayRef<Along> dimensions) {
    return p.convert(p.load(name, dimensions, axes), p.arithmetic);
  };
  Value out0 = load("out0", output), lse0 = load("lse0", state);
  Value out1 = load("out1", output), lse1 = load("lse1", state);
  auto merged = tile::MergeOp::create(p.b, p.loc, out0.getType(), lse0.getType(), out0, lse0, out1, lse1);
  p.store(merged.getOut(), "out", output);
  p.store(merged.getLse(), "lse", state);
}

void tile::buildPartsItem(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item,
                          Value parts) {
  Axes axes = {{"n", schedule.getQueries()}, {"h", schedule.getHeads()}, {"e", variant.getValueFeatures()}};
  Axes stateAxes = {axes[0], axes[1]};
  Along tokens = {item.token, "n", item.tokens};
  Along heads = {item.head, "h", item.heads};
  Along features = {p.index(0), "e"};
  SmallVector<Value> none = {p.fill(0.0, axes), p.fill(-std::numeric_limits<double>::infinity(), stateAxes)};
  auto loop = scf::ForOp::create(
      p.b, p.loc, p.index(0), parts, p.index(1), none, [&](OpBuilder &, Location, Value part, ValueRange state) {
        Value out = p.load("part_out", {tokens, {part}, heads, features}, axes);
        Value lse = p.load("part_lse", {tokens, {part}, heads}, axes);
        auto merged = tile::MergeOp::create(p.b, p.loc, out.getType(), lse.getType(), state[0], state[1], out, lse);
        scf::YieldOp::create(p.b, p.loc, ValueRange{merged.getOut(), merged.getLse()});
      });
  p.store(loop.getResult(0), "out", {tokens, heads, features});
  p.store(loop.getResult(1), "lse", {tokens, heads});
}

void tile::buildPartResult(ProgramBuilder &p, VariantAttr variant, ScheduleAttr schedule, const WorkItem &item) {
  Axes axes = {{"n", schedule.getQueries()}, {"h", schedule.getHeads()}, {"e", variant.getValueFeatures()}};
  Along tokens = {item.token, "n", item.tokens};
  Along heads = {item.head, "h", item.heads};
  Along features = {p.index(0), "e"};
  p.store(p.load("part_out", {tokens, {item.part}, heads, features}, axes), "out", {tokens, heads, features});
  p.store(p.load("part_lse", {tokens, {item.part}, heads}, axes), "lse", {tokens, heads});
}
