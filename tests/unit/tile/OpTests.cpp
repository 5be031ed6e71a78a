// SPDX-License-Identifier: Apache-2.0
//
// Every tile op that computes, against values found by hand or by a formula written out here; nothing is rounded.

#include "tests/unit/tile/TestProgram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <sstream>

using namespace tpac;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr ElementType f64 = ElementType::f64;

std::string join(const std::vector<std::string> &list, const char *between) {
  std::string result;
  for (const std::string &entry : list)
    result += (result.empty() ? "" : between) + entry;
  return result;
}

/// A tile as test data: axes "n 2, m 3" and an element type.
struct Tile {
  std::string axes;
  std::vector<double> values;
  std::string type = "f64";

  std::string tileType() const { return "!tile.tile<" + axes + ", " + type + ">"; }
  /// Names and sizes of the axes.
  std::vector<std::pair<std::string, int64_t>> axisList() const {
    std::vector<std::pair<std::string, int64_t>> result;
    std::istringstream words(axes);
    std::string name, size;
    while (words >> name >> size)
      result.emplace_back(name, std::stoll(size));
    return result;
  }
  std::vector<int64_t> shape() const {
    std::vector<int64_t> result;
    for (const auto &[name, size] : axisList())
      result.push_back(size);
    return result;
  }
  std::string memref() const {
    std::string result = "memref<";
    for (int64_t size : shape())
      result += std::to_string(size) + "x";
    return result + type + ">";
  }
  /// "[%c0, %c0] axes ["n", "m"]"
  std::string access() const {
    std::vector<std::string> indices, names;
    for (const auto &[name, size] : axisList()) {
      indices.push_back("%c0");
      names.push_back('"' + name + '"');
    }
    return "[" + join(indices, ", ") + "] axes [" + join(names, ", ") + "]";
  }
  ElementType elementType() const {
    return type == "f64"   ? f64
           : type == "i32" ? ElementType::i32
           : type == "i8"  ? ElementType::i8
                           : ElementType::f8E4M3FN;
  }
};

/// Loads the inputs as %i0, %i1, .., runs `body`, which defines %r0, %r1, .., and compares them with `expected`.
void expectTiles(const std::string &body, const std::vector<Tile> &inputs, const std::vector<Tile> &expected,
                 double tolerance = 1e-14) {
  std::vector<std::string> parameters;
  std::vector<InterpreterArgument> arguments;
  std::vector<TestMemory> memory;
  memory.reserve(inputs.size() + expected.size());
  std::string before, after;
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::string n = std::to_string(i);
    parameters.push_back("%in" + n + ": " + inputs[i].memref());
    memory.emplace_back(inputs[i].elementType(), inputs[i].shape(), inputs[i].values);
    before += "  %i" + n + " = tile.load %in" + n + inputs[i].access() + " : " + inputs[i].memref() + " -> " +
              inputs[i].tileType() + "\n";
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    std::string n = std::to_string(i);
    parameters.push_back("%out" + n + ": " + expected[i].memref());
    memory.emplace_back(expected[i].elementType(), expected[i].shape(), 99.0);
    after += "  tile.store %r" + n + ", %out" + n + expected[i].access() + " : " + expected[i].tileType() + " -> " +
             expected[i].memref() + "\n";
  }
  for (const TestMemory &tensor : memory)
    arguments.push_back(tensor.view());
  std::string program = "func.func @main(" + join(parameters, ", ") + ") {\n  %c0 = arith.constant 0 : index\n" +
                        before + "  " + body + "\n" + after + "  return\n}\n";
  ASSERT_EQ(runProgram(program, arguments), "") << program;
  for (size_t i = 0; i < expected.size(); ++i) {
    std::vector<double> values = memory[inputs.size() + i].values();
    for (size_t k = 0; k < values.size(); ++k) {
      double want = expected[i].values[k];
      if (std::isinf(want))
        EXPECT_EQ(values[k], want) << "result " << i << ", element " << k;
      else
        EXPECT_NEAR(values[k], want, tolerance * std::fmax(1.0, std::fabs(want)))
            << "result " << i << ", element " << k;
    }
  }
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

} // namespace

TEST(Ops, Fill) {
  expectTiles("%r0 = tile.fill -2.5 : !tile.tile<n 1, h 2, f64>", {}, {{"n 1, h 2", {-2.5, -2.5}}});
  expectTiles("%r0 = tile.fill 0xFFF0000000000000 : !tile.tile<h 1, f64>", {}, {{"h 1", {-infinity}}});
}

TEST(Ops, ConvertChangesTypeAndOrder) {
  expectTiles("%r0 = tile.convert %i0 : !tile.tile<m 2, d 3, i8> -> !tile.tile<d 3, m 2, f64>",
              {{"m 2, d 3", {1, 2, 3, 4, 5, -6}, "i8"}}, {{"d 3, m 2", {1, 4, 2, 5, 3, -6}}});
}

TEST(Ops, SplitWithoutRoundingKeepsAllInHigh) {
  expectTiles("%r0, %r1 = tile.split %i0 : !tile.tile<h 2, f64> -> !tile.tile<h 2, f64>", {{"h 2", {0.1, -7}}},
              {{"h 2", {0.1, -7}}, {"h 2", {0, 0}}});
}

TEST(Ops, MulBroadcastsByName) {
  expectTiles("%r0 = tile.mul %i0, %i1 : !tile.tile<n 1, h 2, m 3, f64>, !tile.tile<m 3, h 2, f64> -> !tile.tile<n 1, "
              "h 2, m 3, f64>",
              {{"n 1, h 2, m 3", {1, 2, 3, 4, 5, 6}}, {"m 3, h 2", {10, 100, 20, 200, 30, 300}}},
              {{"n 1, h 2, m 3", {10, 40, 90, 400, 1000, 1800}}});
  expectTiles("%r0 = tile.mul %i0, %i1 : !tile.tile<h 2, f64>, !tile.tile<m 2, f64> -> !tile.tile<m 2, h 2, f64>",
              {{"h 2", {2, 3}}, {"m 2", {5, 7}}}, {{"m 2, h 2", {10, 15, 14, 21}}});
}

TEST(Ops, AddFindsAxesByName) {
  expectTiles(
      "%r0 = tile.add %i0, %i1 : !tile.tile<m 2, h 2, f64>, !tile.tile<h 2, m 2, f64> -> !tile.tile<m 2, h 2, f64>",
      {{"m 2, h 2", {1, 2, 3, 4}}, {"h 2, m 2", {10, 20, 30, 40}}}, {{"m 2, h 2", {11, 32, 23, 44}}});
}

TEST(Ops, ConstantMul) {
  expectTiles("%r0 = tile.constant_mul %i0, -0.125 : !tile.tile<h 2, f64> -> !tile.tile<h 2, f64>", {{"h 2", {8, 3}}},
              {{"h 2", {-1, -0.375}}});
}

TEST(Ops, DotContractsWhatTheResultLacks) {
  // [[1 2 3], [4 5 6]] times the transpose of [[1 0 2], [0 1 1]].
  expectTiles(
      "%r0 = tile.dot %i0, %i1 : !tile.tile<h 2, d 3, f64>, !tile.tile<m 2, d 3, f64> -> !tile.tile<h 2, m 2, f64>",
      {{"h 2, d 3", {1, 2, 3, 4, 5, 6}}, {"m 2, d 3", {1, 0, 2, 0, 1, 1}}}, {{"h 2, m 2", {7, 5, 16, 11}}});
}

TEST(Ops, DotAddsTheAccumulator) {
  expectTiles("%r0 = tile.dot %i0, %i1 acc %i2 : !tile.tile<e 2, h 1, f64>, !tile.tile<h 1, m 2, f64>, "
              "!tile.tile<m 2, e 2, f64> -> !tile.tile<e 2, h 1, f64>",
              {{"h 1, m 2", {2, 3}}, {"m 2, e 2", {1, 10, 100, 1000}}, {"e 2, h 1", {0.5, 0.25}}},
              {{"e 2, h 1", {302.5, 3020.25}}});
}

TEST(Ops, DotBatchesSharedAxesAndContractsSeveral) {
  // One batch axis n; r and d are summed, in another order in the second operand.
  expectTiles("%r0 = tile.dot %i0, %i1 : !tile.tile<n 2, r 2, d 2, f64>, !tile.tile<d 2, n 2, r 2, f64> -> "
              "!tile.tile<n 2, f64>",
              {{"n 2, r 2, d 2", {1, 2, 3, 4, 5, 6, 7, 8}}, {"d 2, n 2, r 2", {1, 10, 2, 20, 100, 1000, 200, 2000}}},
              {{"n 2", {1 * 1 + 2 * 100 + 3 * 10 + 4 * 1000, 5 * 2 + 6 * 200 + 7 * 20 + 8 * 2000}}});
}

TEST(Ops, DotToNoAxes) {
  std::string program = R"(
    func.func @main(%a: memref<3xf64>, %out: memref<f64>) {
      %c0 = arith.constant 0 : index
      %x = tile.load %a[%c0] axes ["d"] : memref<3xf64> -> !tile.tile<d 3, f64>
      %s = tile.dot %x, %x : !tile.tile<d 3, f64>, !tile.tile<d 3, f64> -> !tile.tile<f64>
      tile.store %s, %out[] axes [] : !tile.tile<f64> -> memref<f64>
      return
    })";
  TestMemory a(f64, {3}, {1, 2, 3});
  TestMemory out(f64, {});
  ASSERT_EQ(runProgram(program, {a.view(), out.view()}), "");
  EXPECT_EQ(out.values(), std::vector<double>{14});
}

TEST(Ops, OuterJoinsFeaturesFastFirst) {
  expectTiles("%r0 = tile.outer %i0, %i1 join \"d0\" \"d1\" as \"d\" : !tile.tile<m 2, d0 3, f64>, !tile.tile<m 2, d1 "
              "2, f64> -> "
              "!tile.tile<m 2, d 6, f64>",
              {{"m 2, d0 3", {1, 2, 3, 4, 5, 6}}, {"m 2, d1 2", {1, 10, 100, 1000}}},
              {{"m 2, d 6", {1, 2, 3, 10, 20, 30, 400, 500, 600, 4000, 5000, 6000}}});
}

TEST(Ops, OuterOfALearnedFactorGainsAxes) {
  // The joined axis has the name of an operand's.
  expectTiles(
      "%r0 = tile.outer %i0, %i1 join \"d\" \"d1\" as \"d\" : !tile.tile<d 2, f64>, !tile.tile<m 2, d1 2, f64> -> "
      "!tile.tile<d 4, m 2, f64>",
      {{"d 2", {1, 2}}, {"m 2, d1 2", {1, 10, 100, 1000}}}, {{"d 4, m 2", {1, 100, 2, 200, 10, 1000, 20, 2000}}});
}

TEST(Ops, SliceRenames) {
  expectTiles("%r0 = tile.slice %i0 \"d\" as \"e\" : !tile.tile<m 2, d 3, f64> -> !tile.tile<e 2, m 2, f64>",
              {{"m 2, d 3", {1, 2, 3, 4, 5, 6}}}, {{"e 2, m 2", {1, 4, 2, 5}}});
}

TEST(Ops, SliceFromAnOffset) {
  expectTiles("%one = arith.constant 1 : index\n"
              "%r0 = tile.slice %i0 \"d\" as \"d\" at %one : !tile.tile<m 2, d 3, f64> -> !tile.tile<m 2, d 2, f64>",
              {{"m 2, d 3", {1, 2, 3, 4, 5, 6}}}, {{"m 2, d 2", {2, 3, 5, 6}}});
}

TEST(Ops, RopeHalf) {
  // Two frequencies, 1 and 0.01; features 1 to 4 are rotated, pairs (1, 3) and (2, 4); direction -1.
  double c0 = std::cos(3.0), s0 = std::sin(3.0), c1 = std::cos(0.03), s1 = std::sin(0.03);
  expectTiles("%r0 = tile.rope <d_rot = 4, offset = 1, base = 1.0e+04> block 6 axis \"d\" %i0, %i1 : !tile.tile<n 1, d "
              "6, f64>, "
              "!tile.tile<n 1, i32> -> !tile.tile<n 1, d 6, f64>",
              {{"n 1, d 6", {1, 2, 3, 4, 5, 6}}, {"n 1", {3}, "i32"}},
              {{"n 1, d 6", {1, 2 * c0 + 4 * s0, 3 * c1 + 5 * s1, 4 * c0 - 2 * s0, 5 * c1 - 3 * s1, 6}}});
}

TEST(Ops, RopeInterleavedInBlocksWithTableAndAmplitude) {
  // Direction 1, amplitude 2, frequency 0.5, two blocks of two features, two positions for a learned input.
  auto turned = [](double x1, double x2, double angle) {
    return std::array{2 * (x1 * std::cos(angle) - x2 * std::sin(angle)),
                      2 * (x1 * std::sin(angle) + x2 * std::cos(angle))};
  };
  std::vector<double> expected;
  for (double position : {0.0, 7.0})
    for (auto [x1, x2] : {std::pair(1.0, 2.0), std::pair(3.0, 4.0)})
      for (double value : turned(x1, x2, 0.5 * position))
        expected.push_back(value);
  expectTiles(
      "%r0 = tile.rope <layout = interleaved, direction = 1, d_rot = 2, inv_freq = [5.0e-01], amplitude = 2.0> block 2 "
      "axis \"d\" %i0, %i1 : !tile.tile<d 4, f64>, !tile.tile<m 2, i32> -> !tile.tile<m 2, d 4, f64>",
      {{"d 4", {1, 2, 3, 4}}, {"m 2", {0, 7}, "i32"}}, {{"m 2, d 4", expected}});
}

TEST(Ops, HeadFunctions) {
  std::string types = " %i0 : !tile.tile<h 2, r 2, f64> -> !tile.tile<r 2, h 2, f64>";
  Tile input = {"h 2, r 2", {0, 1, -2, 1000}};
  expectTiles("%r0 = tile.head_function identity" + types, {input}, {{"r 2, h 2", {0, -2, 1, 1000}}});
  expectTiles("%r0 = tile.head_function sigmoid" + types, {input}, {{"r 2, h 2", {0.5, sigmoid(-2), sigmoid(1), 1}}});
  double e = std::exp(-2.0);
  expectTiles("%r0 = tile.head_function softmax" + types, {input}, {{"r 2, h 2", {1 / (1 + e), e / (1 + e), 0, 1}}});
}

TEST(Ops, Softcap) {
  expectTiles("%r0 = tile.softcap %i0, 5.0 : !tile.tile<m 3, f64> -> !tile.tile<m 3, f64>", {{"m 3", {0, 2, -1000}}},
              {{"m 3", {0, 5 * std::tanh(0.4), -5}}});
}

TEST(Ops, Mask) {
  // Tokens 4 to 7; two queries.
  Tile input = {"n 2, m 4", {1, 2, 3, 4, 5, 6, 7, 8}};
  auto program = [](const std::string &limit, const std::string &end, const std::string &flags) {
    return "%token = arith.constant 4 : index\n  %limit = arith.constant " + limit +
           " : index\n  %end = arith.constant " + end + " : index\n  %r0 = tile.mask %i0 at %token, %limit, %end " +
           flags + " : !tile.tile<n 2, m 4, f64> -> !tile.tile<n 2, m 4, f64>";
  };
  double x = -infinity;
  expectTiles(program("6", "100", "causal"), {input}, {{"n 2, m 4", {1, 2, x, x, 5, 6, 7, x}}});
  expectTiles(program("6", "100", ""), {input}, {{"n 2, m 4", {1, 2, x, x, 5, 6, x, x}}});
  expectTiles(program("7", "6", "causal"), {input}, {{"n 2, m 4", {1, 2, x, x, 5, 6, x, x}}});
  expectTiles(program("7", "100", "causal window 2"), {input}, {{"n 2, m 4", {x, 2, 3, x, x, x, 7, 8}}});
  expectTiles(program("7", "100", "window 1"), {input}, {{"n 2, m 4", {x, x, 3, x, x, x, 7, x}}});
  expectTiles(program("-3", "100", "causal"), {input}, {{"n 2, m 4", {x, x, x, x, x, x, x, x}}});
}

TEST(Ops, MaskWithAWindowStartsAtTokenZero) {
  expectTiles("%token = arith.constant -1 : index\n  %limit = arith.constant 2 : index\n"
              "  %r0 = tile.mask %i0 at %token, %limit, %limit window 9 : !tile.tile<m 4, n 1, f64> -> !tile.tile<m 4, "
              "n 1, f64>",
              {{"m 4, n 1", {1, 2, 3, 4}}}, {{"m 4, n 1", {-infinity, 2, 3, -infinity}}});
}

TEST(Ops, SoftmaxStep) {
  // Rows: the maximum stays; it grows from 1 to 3; nothing was seen before; nothing is seen at all.
  double x = -infinity;
  expectTiles(
      "%r0, %r1, %r2, %r3 = tile.softmax_step %i0, %i1, %i2 : !tile.tile<h 4, m 2, f64>, !tile.tile<h 4, f64> -> "
      "!tile.tile<h 4, m 2, f64>",
      {{"h 4, m 2", {1, 0, 3, x, 2, 1, x, x}}, {"h 4", {2, 1, x, x}}, {"h 4", {1.5, 2, 0, 0}}},
      {{"h 4, m 2", {0.5, 0.25, 1, 0, 1, 0.5, 0, 0}},
       {"h 4", {2, 3, 2, x}},
       {"h 4", {1.5 + 0.75, 2 * 0.25 + 1, 1.5, 0}},
       {"h 4", {1, 0.25, 0, 1}}});
}

TEST(Ops, Finish) {
  expectTiles("%r0, %r1 = tile.finish %i0, %i1, %i2 : !tile.tile<h 2, e 2, f64>, !tile.tile<h 2, f64>",
              {{"h 2, e 2", {3, 6, 0, 0}}, {"h 2", {5, -infinity}}, {"h 2", {4, 0}}},
              {{"h 2, e 2", {0.75, 1.5, 0, 0}}, {"h 2", {7 * std::log(2.0), -infinity}}});
}

TEST(Ops, Merge) {
  double nan = std::nan("");
  double x = -infinity;
  // Weights 3 : 1; an empty side, whose output is no number; both empty.
  expectTiles("%r0, %r1 = tile.merge %i0, %i1, %i2, %i3 : !tile.tile<h 3, e 2, f64>, !tile.tile<h 3, f64>",
              {{"h 3, e 2", {1, 2, nan, nan, nan, nan}},
               {"h 3", {std::log(3.0), x, x}},
               {"h 3, e 2", {5, 10, 7, 8, nan, nan}},
               {"h 3", {0, -4, x}}},
              {{"h 3, e 2", {2, 4, 7, 8, 0, 0}}, {"h 3", {std::log(4.0), -4, x}}});
}

TEST(Ops, Quantize) {
  std::string types = " : !tile.tile<d 4, r 2, f64> -> !tile.tile<r 2, d 4, ";
  Tile input = {"d 4, r 2", {254, 0, -127, 0, 3, 0, 1, 0}};
  // Stored values are rounded: 1.5 and 0.5 are ties.
  expectTiles("%r0, %r1 = tile.quantize %i0 along \"d\"" + types + "i8>, !tile.tile<r 2, f64>", {input},
              {{"r 2, d 4", {127, -64, 2, 0, 0, 0, 0, 0}, "i8"}, {"r 2", {2, 1}}});
  expectTiles("%r0, %r1 = tile.quantize %i0 along \"d\"" + types + "f8E4M3FN>, !tile.tile<r 2, f64>",
              {{"d 4, r 2", {896, 0, -38, 0, 2, 0, 0, 0}}},
              {{"r 2, d 4", {448, -20, 1, 0, 0, 0, 0, 0}, "f8E4M3FN"}, {"r 2", {2, 1}}});
}
