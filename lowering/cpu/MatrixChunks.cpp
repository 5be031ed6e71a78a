// SPDX-License-Identifier: Apache-2.0
//
// The products of a chunk of queries: 32 columns, two groups of 16, whose sums are four tiles.
//
// A tile store waits until the last product of its sum is through the matrix unit, and what is multiplied into the same
// register waits for the store: where all four sums end together, so much time is lost as a product takes (52 cycles).
// So the two halves of the sums end at different times. One half is stored while the other's last products run; the
// other half while the next products of the first have begun, in the following step or pass.

#include "lowering/cpu/MatrixLoopEmitter.h"
#include "lowering/cpu/MatrixTiles.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <array>

using namespace mlir;
using namespace mlir::tpa;
using namespace mlir::tpa::cpu;

/// Groups of columns of a chunk; rows of tiles that a step of the score and a pass of the value product has.
static constexpr int64_t chunkGroups = chunkColumns / matrixColumns, tileRows = 2;
static_assert(chunkGroups == 2, "one group of columns ends before the other");

Work MatrixLoopEmitter::storeScores(const LateScores &late) {
  Work work;
  for (auto [i, sum] : llvm::enumerate(late.sums))
    work.push_back([this, place = late.place, score = late.score, sum = sum,
                    token = e.plus(late.token, static_cast<int64_t>(i) * matrixRows)] {
      amx::TileStoreOp::create(b, scores[score], scoreIndices(place, token, columnOf(place, 1)), sum, Value());
    });
  return work;
}

SmallVector<Value> MatrixLoopEmitter::loadScores(const Place &place, Value token) {
  SmallVector<Value> sums;
  for (int64_t i = 0; i < tileRows; ++i)
    sums.push_back(amx::TileLoadOp::create(b, sumTile(b.getContext()), scores.back(),
                                           scoreIndices(place, e.plus(token, i * matrixRows), columnOf(place, 1)),
                                           Value()));
  return sums;
}

Work MatrixLoopEmitter::chunkScoreWork(const Place &place, Value token, LateScores &late) {
  Work work;
  MLIRContext *context = b.getContext();
  size_t lateAt = 0;
  // Four sums, two rows of keys and one query: seven registers.
  for (size_t j = 0; j < m.scores.size(); ++j) {
    auto sums = std::make_shared<std::array<SmallVector<Value>, chunkGroups>>();
    auto keys = std::make_shared<std::array<Value, tileRows>>();
    auto query = std::make_shared<Value>();
    ArrayRef<MatrixLoop::Product> products = m.scores[j].products;
    for (int64_t d = 0; d < m.keySize; d += matrixDepth) {
      for (size_t first = 0, end; first < products.size(); first = end) {
        // Parts of a query read the same keys.
        for (end = first; end < products.size() && products[end].keys == products[first].keys;)
          ++end;
        for (int64_t i = 0; i < tileRows; ++i)
          work.push_back([this, keys, &product = products[first], place, token, d, i] {
            Rows rows = keyRows(product.keys, place, e.plus(token, i * matrixRows), d);
            (*keys)[i] = loadOnce(b, rows.memory, rows.indices, rows.stride);
          });
        for (int64_t group = 0; group < chunkGroups; ++group)
          for (const MatrixLoop::Product &product : products.slice(first, end - first)) {
            bool isFirst = d == 0 && &product == products.data();
            bool isLast = d + matrixDepth == m.keySize && &product == &products.back();
            work.push_back([this, query, &product, place, d, group, context] {
              *query = amx::TileLoadOp::create(
                  b, operandTile(context), queries[product.query],
                  ValueRange{place.outerIndex, groupOf(place, group), number(d / 2), number(0)}, Value());
            });
            if (isFirst && group == 1) {
              if (j == 0)
                lateAt = work.size();
              work.push_back([this, &late] { runAll(storeScores(late)); });
            }
            for (int64_t i = 0; i < tileRows; ++i)
              work.push_back([this, sums, keys, query, group, i, isFirst, context] {
                SmallVector<Value> &ofGroup = (*sums)[group];
                if (isFirst)
                  ofGroup.push_back(amx::TileZeroOp::create(b, sumTile(context)));
                ofGroup[i] = amx::TileMulFOp::create(b, sumTile(context), (*keys)[i], *query, ofGroup[i]);
              });
            if (isLast && group == 0)
              for (int64_t i = 0; i < tileRows; ++i)
                work.push_back([this, sums, place, token, j, i] {
                  amx::TileStoreOp::create(b, scores[j],
                                           scoreIndices(place, e.plus(token, i * matrixRows), columnOf(place, 0)),
                                           (*sums)[0][i], Value());
                });
          }
      }
    }
    work.push_back([sums, place, token, j, &late] { late = {place, token, j, (*sums)[1]}; });
  }
  // Vectors read the second group's scores in the second half of a step, of which few products may be the first half.
  if (2 * lateAt + 1 >= work.size())
    std::rotate(work.begin(), work.begin() + static_cast<std::ptrdiff_t>(lateAt),
                work.begin() + static_cast<std::ptrdiff_t>(lateAt) + 1);
  return work;
}

/// All values of a chunk's visible tokens. A pass over them takes 32 features, two rows of tiles: the second row is
/// multiplied one step behind the first, so that they end and begin at different times.
void MatrixLoopEmitter::chunkValueStage(const Place &place, Value active, const State &state) {
  MLIRContext *context = b.getContext();
  Value begin = firstToken(place);
  auto stored = [&](Value row, int64_t group) {
    Point point = place.outer;
    point[m.valueFeatures] = row;
    point[m.column] = columnOf(place, group);
    return e.indices(state.accumulator, point);
  };
  auto load = [&](Value row) {
    SmallVector<Value> sums;
    for (int64_t group = 0; group < chunkGroups; ++group)
      sums.push_back(
          amx::TileLoadOp::create(b, sumTile(context), state.accumulator.memory, stored(row, group), Value()));
    return sums;
  };
  auto store = [&](Value row, ArrayRef<Value> sums) {
    for (int64_t group = 0; group < chunkGroups; ++group)
      amx::TileStoreOp::create(b, state.accumulator.memory, stored(row, group), sums[group], Value());
  };
  auto loadValues = [&](Value token, size_t product, Value row) -> Value {
    Rows rows = valueRows(m.values[product].values, place, token, row);
    return loadOnce(b, rows.memory, rows.indices, rows.stride);
  };
  auto multiply = [&](Value values, Value weights, Value &sum) {
    sum = amx::TileMulFOp::create(b, sumTile(context), values, weights, sum);
  };
  /// Loads the weights of 32 tokens and multiplies the first row by them.
  auto multiplyFirst = [&](Value token, size_t product, Value row, MutableArrayRef<Value> sums,
                           MutableArrayRef<Value> weights) {
    Value values = loadValues(token, product, row);
    Value pair = arith::ShRUIOp::create(b, token, number(1));
    for (int64_t group = 0; group < chunkGroups; ++group) {
      weights[group] = amx::TileLoadOp::create(b, operandTile(context), weightWords[product],
                                               ValueRange{place.parity, number(group), pair, number(0)}, Value());
      multiply(values, weights[group], sums[group]);
    }
  };
  auto multiplySecond = [&](Value token, size_t product, Value row, MutableArrayRef<Value> sums,
                            ArrayRef<Value> weights) {
    Value values = loadValues(token, product, row);
    for (int64_t group = 0; group < chunkGroups; ++group)
      multiply(values, weights[group], sums[group]);
  };

  size_t last = m.values.size() - 1;
  std::function<void()> storeLate = [] {};
  for (int64_t feature = 0; feature < m.valueSize; feature += tileRows * matrixRows) {
    Value firstRow = number(feature), secondRow = number(feature + matrixRows);
    SmallVector<Value> carried = load(firstRow), weights(chunkGroups);
    multiplyFirst(begin, 0, firstRow, carried, weights);
    storeLate();
    llvm::append_range(carried, load(secondRow));
    auto advance = [&](Value tokenBehind, size_t behind, Value token, size_t product, MutableArrayRef<Value> sums) {
      multiplySecond(tokenBehind, behind, secondRow, sums.drop_front(chunkGroups), weights);
      multiplyFirst(token, product, firstRow, sums.take_front(chunkGroups), weights);
    };
    for (size_t product = 1; product <= last; ++product)
      advance(begin, product - 1, begin, product, carried);
    llvm::append_range(carried, weights);
    SmallVector<Value> end =
        e.loop(e.plus(begin, matrixDepth), active, matrixDepth, carried, [&](Value token, ValueRange values) {
          SmallVector<Value> sums(values.take_front(tileRows * chunkGroups));
          weights = llvm::to_vector(values.drop_front(tileRows * chunkGroups));
          advance(e.plus(token, -matrixDepth), last, token, 0, sums);
          for (size_t product = 1; product <= last; ++product)
            advance(token, product - 1, token, product, sums);
          llvm::append_range(sums, weights);
          return sums;
        });
    MutableArrayRef<Value> sums(end);
    store(firstRow, sums.take_front(chunkGroups));
    multiplySecond(e.plus(active, -matrixDepth), last, secondRow, sums.slice(chunkGroups, chunkGroups),
                   sums.drop_front(tileRows * chunkGroups));
    SmallVector<Value> late(sums.slice(chunkGroups, chunkGroups));
    storeLate = [&store, secondRow, late] { store(secondRow, late); };
  }
  storeLate();
}
