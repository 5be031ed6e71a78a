// SPDX-License-Identifier: Apache-2.0
//
// Operands of products that no cache holds, computed into shared memory: rows of 16-bit elements, an odd number of
// chunks apart, which keeps matrix loads and the stores here free of bank conflicts. All that a block needs is computed
// in one pass, eight features of a row at a time, and a rotation's sines and cosines once for all ranks and parts.

#include "lowering/gpu/Emitter.h"

#include <cmath>
#include <numbers>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::gpu;

static constexpr int64_t chunkElements = chunkBytes / 2;

/// A matrix of tokens and features.
struct Emitter::Extent {
  StringAttr rowAxis, columnAxis;
  int64_t rows = 1, columns = 1;

  int64_t rowBytes() const { return (columns * 2 / chunkBytes | 1) * chunkBytes; }
  int64_t bytes() const { return rows * rowBytes(); }
  bool operator==(const Extent &other) const = default;
};

std::optional<Emitter::Extent> Emitter::extentOf(Value tile) {
  auto type = cast<TileType>(tile.getType());
  Extent extent;
  for (auto [name, size] : llvm::zip(type.getAxes(), type.getSizes())) {
    if (size == 1 && isRowAxis(name))
      continue;
    if (name.getValue() == "m") {
      extent.rowAxis = name;
      extent.rows = size;
    } else if (!extent.columnAxis) {
      extent.columnAxis = name;
      extent.columns = size;
    } else {
      fail(tile.getDefiningOp(), "this target keeps tiles of tokens and one other axis in shared memory");
    }
  }
  if (extent.rowAxis && extent.columnAxis && extent.columns % 16 == 0)
    return extent;
  fail(tile.getDefiningOp(), "expected tokens and a multiple of 16 features in the operand of a product");
  return std::nullopt;
}

Emitter::SharedTile Emitter::placeOf(const Extent &extent, Value rows) {
  SharedTile shared;
  shared.rows = rows;
  shared.rowBytes = extent.rowBytes();
  shared.chunk = isa.i32(0);
  shared.rowAxis = extent.rowAxis;
  shared.columnAxis = extent.columnAxis;
  shared.elementType = operandType;
  return shared;
}

void Emitter::fillElements(Value tile, const SharedTile &shared, const Extent &extent, Value first, int64_t threads) {
  int64_t pairs = extent.columns / 2;
  Value end = isa.i32(extent.rows * pairs), step = isa.i32(threads);
  scf::ForOp::create(isa.b, first, end, step, ValueRange(), [&](OpBuilder &, Location, Value number, ValueRange) {
    Scope scope(*this);
    Value row = isa.div(number, pairs);
    Value column = isa.mul(isa.rem(number, pairs), 2);
    Point point;
    point[extent.rowAxis] = row;
    point[extent.columnAxis] = column;
    Value low = element(tile, point);
    point[extent.columnAxis] = isa.add(column, 1);
    Value packed = isa.pack(low, element(tile, point), operandType);
    isa.store(packed, isa.shared(shared.rows, isa.add(isa.mul(row, shared.rowBytes), isa.mul(column, 2))), 4);
    scf::YieldOp::create(isa.b);
  });
}

/// Whether all features of a row are rotated, in one block.
static bool rotatesAll(tile::RopeOp op) {
  int64_t features = op.getInput().getType().sizeOf(op.getAxisAttr());
  return op.getRope().getOffset() == 0 && op.getRope().getDRot() == features &&
         static_cast<int64_t>(op.getBlock()) == features;
}

Value mlir::tpa::gpu::withoutRounding(Value tile) {
  Operation *op = tile.getDefiningOp();
  return llvm::isa_and_nonnull<tile::ConvertOp, tile::SplitOp>(op) ? op->getOperand(0) : tile;
}

tile::RopeOp mlir::tpa::gpu::turnOf(tile::DotOp dot) {
  auto rope = withoutRounding(dot.getRhs()).getDefiningOp<tile::RopeOp>();
  if (!isRankProduct(dot) || !rope || !rotatesAll(rope) || withoutRounding(dot.getLhs()) == dot.getLhs())
    return {};
  auto row = rope.getInput().getDefiningOp<tile::LoadOp>();
  return row && row.getType().getRank() == 1 ? rope : tile::RopeOp();
}

/// Whether rotations turn the same way by the same positions.
static bool turnAlike(tile::RopeOp lhs, tile::RopeOp rhs) {
  auto left = lhs.getPositions().getDefiningOp<tile::LoadOp>(),
       right = rhs.getPositions().getDefiningOp<tile::LoadOp>();
  return lhs.getRope() == rhs.getRope() && lhs.getBlock() == rhs.getBlock() &&
         (lhs.getPositions() == rhs.getPositions() || (left && right && left.getMemory() == right.getMemory()));
}

Value mlir::tpa::gpu::keysOf(tile::DotOp dot) {
  Value keys = dot.getRhs();
  tile::RopeOp turn = turnOf(dot);
  if (!turn)
    return keys;
  Operation *rounding = keys.getDefiningOp();
  for (auto other : dot->getBlock()->getOps<tile::DotOp>()) {
    tile::RopeOp otherTurn = turnOf(other);
    Operation *otherRounding = other.getRhs().getDefiningOp();
    if (otherTurn && turnAlike(turn, otherTurn) && rounding->getName() == otherRounding->getName() &&
        cast<OpResult>(keys).getResultNumber() == cast<OpResult>(other.getRhs()).getResultNumber())
      return other.getRhs();
  }
  return keys;
}

Emitter::SharedTile Emitter::computeSetupTile(Value tile) {
  auto extent = extentOf(tile);
  if (!extent)
    return {};
  SharedTile shared = placeOf(*extent, isa.shared(sharedMemory, reserve(extent->bytes())));
  fillElements(tile, shared, *extent, thread, plan.threads);
  return shared;
}

SmallVector<Value> Emitter::computedTiles(Block *block) {
  llvm::SmallSetVector<Value, 8> tiles;
  for (auto dot : block->getOps<tile::DotOp>()) {
    Value rhs = keysOf(dot);
    if (columnAxis(dot.getType()) && !sumsRankProducts(dot) && !isDeferred(dot) && !setupTiles.contains(rhs) &&
        !stagedOperand(rhs) && !joinedTile(rhs))
      tiles.insert(rhs);
  }
  return tiles.takeVector();
}

/// Where a block's computed tiles are: in the group's one buffer, or in `buffer` of two.
SmallVector<Emitter::SharedTile> Emitter::placesOf(ArrayRef<Value> tiles, Value buffer) {
  SmallVector<SharedTile> places;
  int64_t buffers = buffer ? 2 : 1;
  for (auto [number, tile] : llvm::enumerate(tiles)) {
    auto extent = extentOf(tile);
    if (!extent)
      return SmallVector<SharedTile>(tiles.size());
    int64_t bytes = plan.groups * buffers * extent->bytes();
    if (number == computedPlaces.size())
      computedPlaces.push_back({bytes, reserve(bytes)});
    if (computedPlaces[number].first != bytes)
      computedPlaces[number] = {bytes, reserve(bytes)};
    Value index = buffer ? isa.add(isa.mul(group, 2), buffer) : group;
    Value rows = isa.shared(isa.shared(sharedMemory, computedPlaces[number].second), isa.mul(index, extent->bytes()));
    places.push_back(placeOf(*extent, rows));
  }
  return places;
}

void Emitter::computeBlockTiles(Value tile) {
  // Where warps need not meet before each block, one may still read what the tiles were in the block before.
  if (countsReaders() && !hasMet)
    syncGroup();
  hasMet = true;
  // All of them, so that the group meets once.
  const SmallVector<Value> tiles = computedTiles(tile.getParentBlock());
  const SmallVector<SharedTile> places = placesOf(tiles, /*buffer=*/Value());
  for (auto [computed, shared] : llvm::zip(tiles, places))
    tileScopes.back()[computed] = shared;
  if (succeeded(status))
    fillTiles(tiles, places);
  syncGroup();
}

void Emitter::fillTiles(ArrayRef<Value> tiles, ArrayRef<SharedTile> places, Value limit) {
  SmallVector<Value> chunked;
  SmallVector<SharedTile> chunkedPlaces;
  std::optional<Extent> chunkedExtent;
  // By columns.
  std::map<int64_t, std::pair<SmallVector<Value>, SmallVector<SharedTile>>> widened;
  for (auto [tile, shared] : llvm::zip(tiles, places)) {
    const Extent extent = *extentOf(tile);
    if (isWidened(tile)) {
      widened[extent.columns].first.push_back(tile);
      widened[extent.columns].second.push_back(shared);
    } else if (hasChunks(tile, extent) && (!chunkedExtent || *chunkedExtent == extent)) {
      chunkedExtent = extent;
      chunked.push_back(tile);
      chunkedPlaces.push_back(shared);
    } else {
      fillElements(tile, shared, extent, isa.add(isa.mul(warpInGroup, warpSize), lane), plan.warpsOfGroup() * warpSize);
    }
  }
  if (chunkedExtent)
    fillChunks(chunked, chunkedPlaces, *chunkedExtent);
  for (const auto &[columns, these] : widened)
    widenTiles(these.first, these.second, limit);
}

/// Whether rows of `tile` are columns of all its products: of keys, whose scores are hidden where there is no token.
static bool hasTokensInProducts(Value tile, StringAttr rowAxis) {
  return llvm::all_of(tile.getUsers(), [&](Operation *user) {
    auto dot = dyn_cast<tile::DotOp>(user);
    return dot && dot.getType().hasAxis(rowAxis);
  });
}

// --- 8-bit elements ---

/// Tiles of as many columns each. A lane takes sixteen elements of a row, which are a chunk of the cache and two of the
/// tile; rows first, so that its lanes' chunks are in different banks.
void Emitter::widenTiles(ArrayRef<Value> tiles, ArrayRef<SharedTile> places, Value limit) {
  const Extent extent = *extentOf(tiles.front());
  int64_t pieces = extent.rows * extent.columns / chunkBytes, all = static_cast<int64_t>(tiles.size()) * pieces;
  Value end = isa.i32(all), step = isa.i32(plan.warpsOfGroup() * warpSize);
  Value first = isa.add(isa.mul(warpInGroup, warpSize), lane);
  scf::ForOp::create(isa.b, first, end, step, ValueRange(), [&](OpBuilder &, Location, Value number, ValueRange) {
    Scope scope(*this);
    Value piece = isa.rem(number, pieces), row = isa.rem(piece, extent.rows), chunk = isa.div(piece, extent.rows);
    // The tile that the piece is of.
    SharedTile from;
    Value to, bound;
    for (size_t i = 0; i < tiles.size(); ++i) {
      SharedTile its = *staged(throughConversions(tiles[i]));
      Value rows = limit && !hasTokensInProducts(tiles[i], extent.rowAxis) ? limit : isa.i32(extent.rows);
      if (i == 0) {
        from = its;
        to = places[i].rows;
        bound = rows;
        continue;
      }
      Value isIts = isa.compare(arith::CmpIPredicate::sge, number, isa.i32(static_cast<int64_t>(i) * pieces));
      from.chunk = isa.select(isIts, its.chunk, from.chunk);
      to = isa.select(isIts, places[i].rows, to);
      bound = isa.select(isIts, rows, bound);
    }
    Value isInside = limit ? isa.less(row, bound) : Value();
    auto type = VectorType::get({4}, isa.b.getI32Type());
    Value bytes = isa.load(type, chunkAddress(from, row, 0, 0, chunk), chunkBytes);
    Values words;
    for (int64_t i = 0; i < 4; ++i) {
      auto [even, odd] = isa.expand(LLVM::ExtractElementOp::create(isa.b, bytes, isa.i32(i)), from.elementType);
      for (bool upper : {false, true}) {
        Value word = isa.selectHalves(even, odd, upper);
        words.push_back(isInside ? isa.select(isInside, word, isa.i32(0)) : word);
      }
    }
    Value place = isa.add(isa.mul(row, extent.rowBytes()), isa.mul(chunk, 2 * chunkBytes));
    for (int64_t half : {0, 1}) {
      Value vector = LLVM::PoisonOp::create(isa.b, type);
      for (int64_t i = 0; i < 4; ++i)
        vector = LLVM::InsertElementOp::create(isa.b, vector, words[4 * half + i], isa.i32(i));
      isa.store(vector, isa.shared(isa.shared(to, place), half * chunkBytes), chunkBytes);
    }
    scf::YieldOp::create(isa.b);
  });
}

// --- A block ahead ---

bool Emitter::canFillAhead(ArrayRef<scf::ForOp> loops) {
  // The next block's copy must be under way before the block at hand is computed.
  constexpr int64_t fewestStages = 3;
  if (!countsReaders() || plan.stages < fewestStages)
    return false;
  // Any stage stands for those that there will be.
  stageRows = stageAddress(isa.i32(0));
  bool can = llvm::all_of(loops, [&](scf::ForOp loop) {
    const SmallVector<Value> tiles = computedTiles(loop.getBody());
    // What is behind the last token is nobody's: scores of it are hidden, but zero times a value must be zero, which
    // those that are widened see to.
    return !tiles.empty() && llvm::all_of(tiles, [&](Value tile) {
      auto extent = extentOf(tile);
      return isWidened(tile) || (extent && hasChunks(tile, *extent) && *extent == *extentOf(tiles.front()) &&
                                 hasTokensInProducts(tile, extent->rowAxis));
    });
  });
  stageRows = Value();
  return can;
}

void Emitter::fillAhead(scf::ForOp loop, Value number, Value limit, Value slot, Value parity, Value condition) {
  scf::IfOp::create(isa.b, condition, [&](OpBuilder &, Location) {
    Value own = stageRows;
    isa.waitBarrier(isa.shared(sharedMemory, isa.mul(slot, 8)), parity);
    stageRows = stageAddress(slot);
    const SmallVector<Value> tiles = computedTiles(loop.getBody());
    fillTiles(tiles, placesOf(tiles, isa.bitAnd(number, 1)), limit);
    stageRows = own;
    scf::YieldOp::create(isa.b);
  });
}

void Emitter::takeFilled(scf::ForOp loop, Value number) {
  // The tiles are complete, and those of the block before are free.
  syncGroup();
  hasMet = true;
  const SmallVector<Value> tiles = computedTiles(loop.getBody());
  for (auto [tile, shared] : llvm::zip(tiles, placesOf(tiles, isa.bitAnd(number, 1))))
    tileScopes.back()[tile] = shared;
}

// --- Chunks: eight features of a row, or four ---

/// Whether `fillChunks` can compute the tile: a rotation of all features, of what is cached or kept.
bool Emitter::hasChunks(Value tile, const Extent &extent) {
  auto rope = withoutRounding(tile).getDefiningOp<tile::RopeOp>();
  if (!rope || !rotatesAll(rope))
    return false;
  Value input = rope.getInput();
  auto cached = staged(input);
  return (cached && !cached->isNarrow()) ||
         (kept.contains(input) && cast<TileType>(input.getType()).getNumElements() == extent.columns);
}

/// A constant of the module: turns per position of each pair of features, less whole ones, in units of 2^-64.
static Value turnTable(ImplicitLocOpBuilder &b, ModuleOp module, RopeAttr rope) {
  SmallVector<int64_t> turns;
  for (double frequency : rope.getFrequencies()) {
    // Of a tiny negative turn the difference rounds to 1: a whole turn.
    double turn = frequency / (2 * std::numbers::pi), fraction = turn - std::floor(turn);
    turns.push_back(static_cast<int64_t>(fraction < 1.0 ? static_cast<uint64_t>(fraction * 0x1p64) : 0));
  }
  auto type = RankedTensorType::get(static_cast<int64_t>(turns.size()), b.getI64Type());
  return constantTable(b, module, "tpa_turns", b.getI64Type(), DenseElementsAttr::get(type, ArrayRef<int64_t>(turns)));
}

/// One row's features of chunks `first` and, half of the features further on, `second`: all, or part number `part` of
/// them.
struct Emitter::Chunks {
  Emitter &emitter;
  Extent extent;
  Value row, first, second, part;
  int64_t width;

  Chunks(Emitter &emitter, const Extent &extent, Value row, Value first, Value second, Value part, int64_t width)
      : emitter(emitter), extent(extent), row(row), first(first), second(second), part(part), width(width) {}

  /// f32.
  using Pair = std::array<Values, 2>;

  const Pair &rotated(tile::RopeOp rope) {
    Pair &result = results[rope.getResult()];
    if (!result[0].empty())
      return result;
    Isa &isa = emitter.isa;
    const auto &[cosines, sines] = turnsOf(rope);
    bool isHalf = rope.getRope().getLayout() == RopeLayout::half;
    if (isTurn(rope)) {
      for (int64_t side : {0, 1})
        for (int64_t i = 0; i < width; ++i) {
          int64_t pair = isHalf ? i : side * width / 2 + i / 2;
          bool isSine = isHalf ? side == 1 : i % 2 == 1;
          result[side].push_back(isSine ? sines[pair] : cosines[pair]);
        }
      return result;
    }
    const Pair input = load(rope.getInput());
    // x1 cos - x2 sin, x2 cos + x1 sin.
    auto rotate = [&](Value x1, Value x2, Value cosine, Value sine) {
      Value negated = isa.fsub(isa.f32(-0.0), sine);
      return std::pair(isa.fma(x1, cosine, isa.fmul(x2, negated)), isa.fma(x2, cosine, isa.fmul(x1, sine)));
    };
    result = input;
    if (isHalf) {
      for (int64_t i = 0; i < width; ++i)
        std::tie(result[0][i], result[1][i]) = rotate(input[0][i], input[1][i], cosines[i], sines[i]);
      return result;
    }
    for (int64_t side : {0, 1})
      for (int64_t i = 0; i < width; i += 2) {
        int64_t pair = side * width / 2 + i / 2;
        std::tie(result[side][i], result[side][i + 1]) =
            rotate(input[side][i], input[side][i + 1], cosines[pair], sines[pair]);
      }
    return result;
  }

  /// As stored: rounded, or what rounding has left.
  std::array<Values, 2> packed(Value tile) {
    Isa &isa = emitter.isa;
    Value input = withoutRounding(tile);
    auto split = tile.getDefiningOp<tile::SplitOp>();
    const Pair values = rotated(input.getDefiningOp<tile::RopeOp>());
    std::array<Values, 2> words;
    for (int64_t side : {0, 1})
      for (int64_t i = 0; i < width; i += 2) {
        Value low = values[side][i], high = values[side][i + 1];
        Value word = isa.pack(low, high, emitter.operandType);
        if (split && tile == split.getLow()) {
          auto [lowRounded, highRounded] = isa.unpack(word, emitter.operandType);
          word = isa.pack(isa.fsub(low, lowRounded), isa.fsub(high, highRounded), emitter.operandType);
        }
        words[side].push_back(word);
      }
    return words;
  }

private:
  static bool isTurn(tile::RopeOp rope) {
    return llvm::any_of(rope->getUsers(), [&](Operation *rounding) {
      return llvm::any_of(rounding->getUsers(), [&](Operation *user) {
        auto dot = dyn_cast<tile::DotOp>(user);
        return dot && turnOf(dot) == rope;
      });
    });
  }

  Pair load(Value tile) {
    Isa &isa = emitter.isa;
    Pair values;
    Type word = isa.b.getI32Type(), real = isa.b.getF32Type();
    auto elements = [&](Type type, Value pointer) {
      Value vector = isa.load(VectorType::get({type == word ? width / 2 : 4}, type), pointer,
                              type == word ? width * 2 : chunkBytes);
      Values all;
      for (int64_t i = 0; i < cast<VectorType>(vector.getType()).getNumElements(); ++i)
        all.push_back(LLVM::ExtractElementOp::create(isa.b, vector, isa.i32(i)));
      return all;
    };
    for (int64_t side : {0, 1}) {
      Value chunk = side == 0 ? first : second;
      if (auto cached = emitter.staged(tile)) {
        Value place = isa.shared(emitter.chunkAddress(*cached, row, 0, 0, chunk), isa.mul(part, width * 2));
        for (Value packed : elements(word, place)) {
          auto [low, high] = isa.unpack(packed, cached->elementType);
          values[side].append({low, high});
        }
        continue;
      }
      Value offset = isa.add(isa.mul(chunk, chunkElements * 4), isa.mul(part, width * 4));
      Value place = isa.shared(isa.shared(emitter.sharedMemory, emitter.kept.lookup(tile)), offset);
      for (int64_t i = 0; i < width; i += 4)
        llvm::append_range(values[side], elements(real, isa.shared(place, i * 4)));
    }
    return values;
  }

  /// Cosines and sines of the pairs of features.
  const std::pair<Values, Values> &turnsOf(tile::RopeOp op) {
    auto &known = turns[{op.getRopeAttr().getAsOpaquePointer(), op.getPositions().getAsOpaquePointer()}];
    auto &[cosines, sines] = known;
    if (!cosines.empty())
      return known;
    Isa &isa = emitter.isa;
    ImplicitLocOpBuilder &b = isa.b;
    RopeAttr rope = op.getRope();
    Value table = turnTable(b, isa.entry->getParentOp()->getParentOfType<ModuleOp>(), rope);
    Point point;
    point[extent.rowAxis] = row;
    Value position = isa.extend(emitter.element(op.getPositions(), point));
    auto type = VectorType::get({2}, b.getI64Type());
    bool isHalf = rope.getLayout() == RopeLayout::half;
    for (int64_t i = 0; i < width; i += 2) {
      // Pairs of both chunks; or as many of the first one as of the second.
      int64_t ofSide = isHalf ? width : width / 2;
      Value number = isa.mul(i < ofSide ? first : second, isHalf ? chunkElements : chunkElements / 2);
      number = isa.add(isa.add(number, isa.mul(part, ofSide)), i % ofSide);
      Value vector = isa.load(type, isa.global(table, isa.extend(isa.mul(number, 8))), 16, /*invariant=*/true);
      for (int64_t next : {0, 1}) {
        // Whole turns overflow: exact to 2^-32 of one at any position.
        Value own = LLVM::ExtractElementOp::create(b, vector, isa.i32(next));
        Value product = arith::MulIOp::create(b, position, own);
        Value shift = arith::ConstantOp::create(b, b.getI64IntegerAttr(32));
        Value fraction = arith::TruncIOp::create(b, b.getI32Type(), arith::ShRUIOp::create(b, product, shift));
        Value angle =
            isa.fmul(arith::SIToFPOp::create(b, b.getF32Type(), fraction), isa.f32(2 * std::numbers::pi * 0x1p-32));
        double amplitude = rope.getAmplitudeValue(), signedAmplitude = amplitude * double(rope.getDirection());
        Value cosine = isa.cosine(angle), sine = isa.sine(angle);
        cosines.push_back(amplitude == 1.0 ? cosine : isa.fmul(cosine, isa.f32(amplitude)));
        sines.push_back(signedAmplitude == 1.0 ? sine : isa.fmul(sine, isa.f32(signedAmplitude)));
      }
    }
    return known;
  }

  llvm::DenseMap<Value, Pair> results;
  std::map<std::pair<const void *, const void *>, std::pair<Values, Values>> turns;
};

void Emitter::fillChunks(ArrayRef<Value> tiles, ArrayRef<SharedTile> places, const Extent &extent) {
  // Rows first: the lanes' chunks are rows apart, and what the chunk's number gives is the same for them. Halves of
  // chunks where all of the group's threads have work then.
  int64_t threads = plan.warpsOfGroup() * warpSize, width = chunkElements;
  if (extent.rows * extent.columns / (2 * width) * 2 <= threads)
    width /= 2;
  int64_t parts = chunkElements / width, chunks = extent.columns / (2 * chunkElements);
  Value end = isa.i32(extent.rows * chunks * parts), step = isa.i32(threads);
  Value first = isa.add(isa.mul(warpInGroup, warpSize), lane);
  scf::ForOp::create(isa.b, first, end, step, ValueRange(), [&](OpBuilder &, Location, Value number, ValueRange) {
    Scope scope(*this);
    Value piece = isa.div(number, extent.rows), chunk = isa.div(piece, parts), part = isa.rem(piece, parts);
    Chunks row(*this, extent, isa.rem(number, extent.rows), chunk, isa.add(chunk, chunks), part, width);
    for (auto [tile, shared] : llvm::zip(tiles, places)) {
      auto words = row.packed(tile);
      for (int64_t side : {0, 1}) {
        Value vector = LLVM::PoisonOp::create(isa.b, VectorType::get({width / 2}, isa.b.getI32Type()));
        for (auto [i, word] : llvm::enumerate(words[side]))
          vector = LLVM::InsertElementOp::create(isa.b, vector, word, isa.i32(static_cast<int64_t>(i)));
        Value offset = isa.add(isa.mul(side == 0 ? row.first : row.second, chunkBytes), isa.mul(part, width * 2));
        Value place = isa.add(isa.mul(row.row, shared.rowBytes), offset);
        isa.store(vector, isa.shared(shared.rows, place), width * 2);
      }
    }
    scf::YieldOp::create(isa.b);
  });
}
