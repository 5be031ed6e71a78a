// SPDX-License-Identifier: Apache-2.0
//
// Attributes of the tpa dialect: verifiers, derived quantities, custom syntax.
//
// Messages begin with the field's path inside the attribute ("token[0].size: ..."), so that the JSON reader can prefix
// where the attribute stands, and end with the rule's tag (docs/spec.md).

#include "dialect/TPADialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace mlir::tpa;

namespace {

/// Larger sizes have no use and would overflow products of them.
constexpr int64_t maxExtent = int64_t(1) << 20;
/// The most groups and stages of a schedule.
constexpr int64_t maxGroups = 64;

bool isExtent(int64_t value) { return value >= 1 && value <= maxExtent; }

bool isPositiveFinite(FloatAttr attribute) {
  double value = attribute.getValueAsDouble();
  return std::isfinite(value) && value > 0.0;
}

bool isStorageFloat(Type type) { return isa<Float64Type, Float32Type, BFloat16Type, Float16Type>(type); }

/// The shortest text that reads back as `value`.
std::string printed(FloatAttr attribute) {
  llvm::SmallString<32> text;
  attribute.getValue().toString(text);
  return std::string(text);
}

} // namespace

// --- Syntax ---

namespace mlir::tpa::detail {

static FailureOr<FloatAttr> parseF64(AsmParser &parser) {
  double value;
  if (parser.parseFloat(value))
    return failure();
  return FloatAttr::get(Float64Type::get(parser.getContext()), value);
}

static void printF64(AsmPrinter &printer, FloatAttr attribute) { printer.printFloat(attribute.getValue()); }

} // namespace mlir::tpa::detail

static ParseResult parseTokenFactors(AsmParser &parser, SmallVector<TokenFactorAttr> &factors) {
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&]() -> ParseResult {
    auto factor = FieldParser<TokenFactorAttr>::parse(parser);
    if (failed(factor))
      return failure();
    factors.push_back(*factor);
    return success();
  });
}

static void printTokenFactors(AsmPrinter &printer, ArrayRef<TokenFactorAttr> factors) {
  printer << '[';
  llvm::interleaveComma(factors, printer, [&](TokenFactorAttr factor) { printer.printStrippedAttrOrType(factor); });
  printer << ']';
}

#define GET_ATTRDEF_CLASSES
#include "dialect/TPAAttributes.cpp.inc"
#include "dialect/TPAEnums.cpp.inc"

Attribute HeadsAttr::parse(AsmParser &parser, Type) {
  int64_t total = 0;
  if (parser.parseLess() || parser.parseInteger(total))
    return {};
  int64_t begin = 0;
  int64_t end = total;
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseInteger(begin) || parser.parseKeyword("to") || parser.parseInteger(end)))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<HeadsAttr>(parser.getContext(), total, begin, end);
}

void HeadsAttr::print(AsmPrinter &printer) const {
  printer << '<' << getTotal();
  if (!isWhole())
    printer << ", " << getBegin() << " to " << getEnd();
  printer << '>';
}

// --- Verifiers ---

using EmitError = llvm::function_ref<InFlightDiagnostic()>;

LogicalResult HeadsAttr::verify(EmitError emitError, int64_t total, int64_t begin, int64_t end) {
  if (!isExtent(total))
    return emitError() << "heads: expected an integer between 1 and " << maxExtent << ", got " << total << " [H1]";
  if (!(0 <= begin && begin < end && end <= total))
    return emitError() << "head_range: expected 0 <= begin < end <= " << total << ", got [" << begin << ", " << end
                       << "] [H2]";
  return success();
}

LogicalResult RopeAttr::verify(EmitError emitError, RopeLayout, int64_t direction, int64_t dRot, int64_t offset,
                               FloatAttr base, DenseF64ArrayAttr invFreq, FloatAttr amplitude) {
  if (direction != 1 && direction != -1)
    return emitError() << "direction: expected 1 or -1, got " << direction << " [R1]";
  if (!isExtent(dRot) || dRot % 2 != 0)
    return emitError() << "d_rot: expected an even integer between 2 and " << maxExtent << ", got " << dRot << " [R2]";
  if (offset < 0 || offset > maxExtent)
    return emitError() << "offset: expected an integer between 0 and " << maxExtent << ", got " << offset << " [R3]";
  if (!base == !invFreq)
    return emitError() << "base: expected exactly one of base and inv_freq, got " << (base ? "both" : "neither")
                       << " [R4]";
  if (base && !isPositiveFinite(base))
    return emitError() << "base: expected a finite number > 0, got " << printed(base) << " [R5]";
  if (invFreq && invFreq.size() != dRot / 2)
    return emitError() << "inv_freq: expected d_rot/2 = " << dRot / 2 << " frequencies, got " << invFreq.size()
                       << " [R6]";
  if (invFreq && !llvm::all_of(invFreq.asArrayRef(), [](double f) { return std::isfinite(f); }))
    return emitError() << "inv_freq: expected finite numbers, got one that is not [R7]";
  if (amplitude && !isPositiveFinite(amplitude))
    return emitError() << "amplitude: expected a finite number > 0, got " << printed(amplitude) << " [R8]";
  return success();
}

LogicalResult HeadFactorAttr::verify(EmitError emitError, Source source, std::optional<HeadMap> map,
                                     HeadFunction function) {
  if (source == Source::shared)
    return emitError() << "source: expected contextual, learned or fixed, got shared: head factors are never shared "
                          "[A1]";
  if ((source == Source::fixed) != map.has_value())
    return emitError() << "map: expected one of one_hot, groups, ones where source is fixed and none elsewhere, got "
                       << (map ? stringifyHeadMap(*map) : "none") << " with source " << stringifySource(source)
                       << " [A2]";
  if (source == Source::fixed && function != HeadFunction::identity)
    return emitError() << "function: expected identity where source is fixed, got " << stringifyHeadFunction(function)
                       << " [A3]";
  return success();
}

LogicalResult TokenFactorAttr::verify(EmitError emitError, Source source, int64_t size) {
  if (source == Source::fixed)
    return emitError() << "source: expected contextual, learned or shared, got fixed: token factors are never fixed "
                          "[B1]";
  if (!isExtent(size))
    return emitError() << "size: expected an integer between 1 and " << maxExtent << ", got " << size << " [B2]";
  return success();
}

LogicalResult FactorizationAttr::verify(EmitError emitError, int64_t rank, bool, HeadFactorAttr head,
                                        ArrayRef<TokenFactorAttr> token) {
  if (!isExtent(rank))
    return emitError() << "rank: expected an integer between 1 and " << maxExtent << ", got " << rank << " [F1]";
  if (head.getMap() == HeadMap::ones && rank != 1)
    return emitError() << "rank: expected 1 where head.map is ones, got " << rank << " [F2]";
  if (token.empty())
    return emitError() << "token: expected at least one small factor, got none [F3]";
  for (auto [i, factor] : llvm::enumerate(token))
    if (factor.isShared() != token.front().isShared())
      return emitError() << "token[" << i << "].source: expected all small factors shared or none, got "
                         << stringifySource(factor.getSource()) << " after "
                         << stringifySource(token.front().getSource()) << " [F4]";
  int64_t features = 1;
  for (TokenFactorAttr factor : token) {
    features *= factor.getSize();
    if (features > maxExtent)
      return emitError() << "token: expected sizes whose product is at most " << maxExtent << ", got more [F5]";
  }
  return success();
}

LogicalResult TypesAttr::verify(EmitError emitError, Type activation, Type head, Type token, Type output,
                                Type compute) {
  constexpr llvm::StringLiteral floats = "f64, f32, bf16 or f16";
  std::pair<StringRef, Type> fields[] = {{"activation", activation}, {"head", head}, {"output", output}};
  for (auto [name, type] : fields)
    if (!isStorageFloat(type))
      return emitError() << name << ": expected " << floats << ", got " << type << " [T1]";
  if (!isStorageFloat(token) && !isa<Float8E4M3FNType>(token) && !token.isSignlessInteger(8))
    return emitError() << "token: expected " << floats << ", f8E4M3FN or i8, got " << token << " [T2]";
  if (!isa<Float32Type, Float64Type>(compute))
    return emitError() << "compute: expected f32 or f64, got " << compute << " [T3]";
  if (!isa<Float64Type>(compute) &&
      llvm::any_of(ArrayRef<Type>{activation, head, token, output}, [](Type t) { return isa<Float64Type>(t); }))
    return emitError() << "compute: expected f64 where another type is f64, got " << compute << " [T4]";
  return success();
}

/// Whether V's features include some that RoPE rotates.
static bool valueUsesRotated(FactorizationAttr k, FactorizationAttr v, RopeAttr rope) {
  // Beyond order 2 V uses the whole first small factor.
  return k.getOrder() > 2 || rope.getOffset() < v.getFeatures();
}

static int64_t ropeBlock(FactorizationAttr q, FactorizationAttr k) {
  for (FactorizationAttr side : {k, q})
    if (side.getOrder() > 2)
      return side.getToken().front().getSize();
  return k.getFeatures();
}

/// Rules on V where it shares K's token factor.
static LogicalResult verifySharedValues(EmitError emitError, HeadsAttr heads, FactorizationAttr k,
                                        FactorizationAttr v) {
  if (v.getRank() != k.getRank())
    return emitError() << "v.rank: expected k's rank " << k.getRank() << " where the token factor is shared, got "
                       << v.getRank() << " [V5]";
  if (v.getOrder() != k.getOrder())
    return emitError() << "v.token: expected as many small factors as k has, " << k.getToken().size()
                       << ", where they are shared, got " << v.getToken().size() << " [V6]";
  for (auto [i, own, theirs] : llvm::enumerate(v.getToken(), k.getToken())) {
    bool last = i + 1 == k.getToken().size();
    if (own.getSize() > theirs.getSize() || (!last && own.getSize() != theirs.getSize()))
      return emitError() << "v.token[" << i << "].size: expected " << (last ? "at most " : "") << theirs.getSize()
                         << ", k's size, where the factor is shared, got " << own.getSize() << " [V7]";
  }
  if (!heads.isWhole() && k.hasMap(HeadMap::one_hot) != v.hasMap(HeadMap::one_hot))
    return emitError() << "v.head: expected both k and v or neither to be one_hot where they share token factors and "
                          "head_range is a part of the heads, got one [V8]";
  return success();
}

LogicalResult VariantAttr::verify(EmitError emitError, StringAttr name, HeadsAttr heads, FactorizationAttr q,
                                  FactorizationAttr k, FactorizationAttr v, RopeAttr rope,
                                  std::optional<ValueSees> vSees, FloatAttr scale, FloatAttr softcap, bool,
                                  std::optional<int64_t> window, QueryPrecision, WeightRows, TypesAttr) {
  StringRef text = name.getValue();
  if (text.empty() || !llvm::isAlpha(text.front()) ||
      !llvm::all_of(text, [](char c) { return llvm::isAlnum(c) || c == '_' || c == '.' || c == '-'; }))
    return emitError() << "name: expected a letter, then letters, digits, '_', '.' or '-', got \"" << text << "\" [V1]";

  std::pair<StringRef, FactorizationAttr> sides[] = {{"q", q}, {"k", k}, {"v", v}};
  for (auto [side, factorization] : sides) {
    if (side != "v" && factorization.isShared())
      return emitError() << side
                         << ".token[0].source: expected contextual or learned, got shared: only v shares k's "
                            "token factor [V2]";
    if (factorization.hasMap(HeadMap::one_hot) && factorization.getRank() != heads.getTotal())
      return emitError() << side << ".rank: expected the number of heads, " << heads.getTotal()
                         << ", where head.map is one_hot, got " << factorization.getRank() << " [V3]";
    if (factorization.hasMap(HeadMap::groups) && factorization.getRank() > heads.getTotal())
      return emitError() << side << ".rank: expected at most the number of heads, " << heads.getTotal()
                         << ", where head.map is groups, got " << factorization.getRank() << " [V4]";
    if (factorization.getHead().getFunction() == HeadFunction::softmax && !heads.isWhole())
      return emitError() << side
                         << ".head.function: expected identity or sigmoid where head_range is a part of the "
                            "heads, got softmax, which needs all of them [V9]";
  }
  if (q.getFeatures() != k.getFeatures())
    return emitError() << "k.token: expected sizes whose product is q's, " << q.getFeatures() << ", got "
                       << k.getFeatures() << " [V10]";
  if (v.isShared() && failed(verifySharedValues(emitError, heads, k, v)))
    return failure();

  if (rope) {
    if (q.getOrder() > 2 && k.getOrder() > 2 && q.getToken().front().getSize() != k.getToken().front().getSize())
      return emitError() << "k.token[0].size: expected q's first size, " << q.getToken().front().getSize()
                         << ", where both are rotated at order 3 or above, got " << k.getToken().front().getSize()
                         << " [V11]";
    int64_t block = ropeBlock(q, k);
    if (rope.getOffset() + rope.getDRot() > block)
      return emitError() << "rope.d_rot: expected offset + d_rot at most " << block
                         << ", the features of the factor rotated, got " << rope.getOffset() << " + " << rope.getDRot()
                         << " [V12]";
  }
  bool needsSees = rope && v.isShared() && valueUsesRotated(k, v, rope);
  if (needsSees != vSees.has_value())
    return emitError() << "v_sees: expected "
                       << (needsSees ? "rotated or unrotated, since v uses features of k that rope rotates, got none"
                                     : "none, since v uses no feature of k that rope rotates, got " +
                                           stringifyValueSees(*vSees).str())
                       << " [V13]";
  if (scale && !isPositiveFinite(scale))
    return emitError() << "scale: expected a finite number > 0, got " << printed(scale) << " [V14]";
  if (softcap && !isPositiveFinite(softcap))
    return emitError() << "softcap: expected a finite number > 0, got " << printed(softcap) << " [V15]";
  if (window && *window < 1)
    return emitError() << "window: expected an integer >= 1, got " << *window << " [V16]";
  return success();
}

LogicalResult ScheduleAttr::verify(EmitError emitError, int64_t tokens, int64_t queries, int64_t heads, ScoreOrder,
                                   ValueOrder, TileRows, Type operands, int64_t queryParts, int64_t itemHeads,
                                   int64_t split, int64_t valueBlock, int64_t pageSize, int64_t groups, int64_t stages,
                                   bool) {
  std::pair<StringRef, int64_t> sizes[] = {{"tokens", tokens}, {"queries", queries}, {"heads", heads}};
  for (auto [name, size] : sizes)
    if (!isExtent(size))
      return emitError() << name << ": expected an integer between 1 and " << maxExtent << ", got " << size << " [G1]";
  if (!isStorageFloat(operands))
    return emitError() << "operands: expected f64, f32, bf16 or f16, got " << operands << " [G2]";
  if (queryParts != 1 && queryParts != 2)
    return emitError() << "query_parts: expected 1 or 2, got " << queryParts << " [G3]";
  if (split < 0 || split > maxExtent || split % tokens != 0)
    return emitError() << "split: expected 0 or a multiple of tokens = " << tokens << ", at most " << maxExtent
                       << ", got " << split << " [G4]";
  if (!isValueBlock(valueBlock))
    return emitError() << "value_block: expected 0 or a power of two from 2 to " << largestValueBlock << ", got "
                       << valueBlock << " [G5]";
  if (!isPageSize(pageSize, valueBlock))
    return emitError() << "page_size: expected 0 or a multiple of " << std::max<int64_t>(valueBlock, 1) << ", at most "
                       << largestPage << ", got " << pageSize << " [G7]";
  for (auto [name, number] : {std::pair<StringRef, int64_t>("groups", groups), {"stages", stages}})
    if (number < 1 || number > maxGroups)
      return emitError() << name << ": expected an integer between 1 and " << maxGroups << ", got " << number
                         << " [G6]";
  if (itemHeads < 0 || itemHeads > maxExtent || itemHeads % heads != 0)
    return emitError() << "item_heads: expected 0 or a multiple of heads = " << heads << ", at most " << maxExtent
                       << ", got " << itemHeads << " [G8]";
  if (itemHeads != 0 && split != 0)
    return emitError() << "item_heads: expected 0 where a cache is split, got " << itemHeads << " [G9]";
  return success();
}

// --- Derived quantities ---

SmallVector<double> RopeAttr::getFrequencies() const {
  if (getInvFreq())
    return llvm::to_vector(getInvFreq().asArrayRef());
  SmallVector<double> frequencies;
  for (int64_t j = 0; j < getDRot() / 2; ++j)
    frequencies.push_back(std::pow(getBase().getValueAsDouble(), -2.0 * j / getDRot()));
  return frequencies;
}

int64_t FactorizationAttr::getFeatures() const {
  int64_t features = 1;
  for (TokenFactorAttr factor : getToken())
    features *= factor.getSize();
  return features;
}

bool FactorizationAttr::isDense() const {
  return hasMap(HeadMap::one_hot) && getOrder() == 2 && getToken().front().isContextual();
}

double FactorizationAttr::getRankFactor() const {
  return getNormalized() && !getHead().isFixed() ? 1.0 / getRank() : 1.0;
}

int64_t FactorizationAttr::getLocalRank(HeadsAttr heads) const {
  return hasMap(HeadMap::one_hot) ? heads.getLocal() : getRank();
}

int64_t FactorizationAttr::getRankOfHead(HeadsAttr heads, int64_t head) const {
  switch (*getHead().getMap()) {
  case HeadMap::one_hot:
    return head;
  case HeadMap::groups:
    return (heads.getBegin() + head) * getRank() / heads.getTotal();
  case HeadMap::ones:
    return 0;
  }
  llvm_unreachable("unknown head map");
}

bool TypesAttr::isQuantized() const { return isa<Float8E4M3FNType, IntegerType>(getToken()); }

double VariantAttr::getScaleValue() const {
  if (getScale())
    return getScale().getValueAsDouble();
  return getQ().getRankFactor() * getK().getRankFactor() / std::sqrt(static_cast<double>(getKeyFeatures()));
}

int64_t VariantAttr::getRopeBlock() const { return ropeBlock(getQ(), getK()); }

bool VariantAttr::rotatesKeysOnRead() const {
  return getRope() && (getVSees() == ValueSees::unrotated || getK().getToken().front().isLearned());
}

void TPADialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/TPAAttributes.cpp.inc"
      >();
}
