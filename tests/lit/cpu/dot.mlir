// RUN: tpa-opt %s -tpa-tiles-to-cpu=lanes=16 -canonicalize -cse | FileCheck %s --check-prefix=WIDE
// RUN: tpa-opt %s -tpa-tiles-to-cpu="lanes=8 registers=16" -canonicalize -cse | FileCheck %s --check-prefix=AVX2
// RUN: tpa-opt %s -tpa-cpu="lanes=8 registers=16" | FileCheck %s --check-prefix=LLVM

// A block of 8 tokens by 3 vectors of heads stays in registers while the features pass, four at a time: 24 sums of
// 3 vectors times 8 broadcasts.
// WIDE-LABEL: func.func @score
// WIDE: scf.for {{.*}} iter_args({{.*}}) -> (vector<16xf32>
// WIDE-COUNT-3: vector.load {{.*}} memref<64x48xf32>, vector<16xf32>
// WIDE-COUNT-96: vector.fma
// WIDE-NOT: vector.fma
// WIDE: scf.yield
// With 16 registers: 4 tokens by 3 vectors.
// AVX2-LABEL: func.func @score
// AVX2: scf.for {{.*}} iter_args({{.*}}) -> (vector<8xf32>
// AVX2-COUNT-48: vector.fma
// AVX2-NOT: vector.fma
// LLVM-LABEL: llvm.func @score
// LLVM-NOT: unrealized_conversion_cast
// LLVM-COUNT-48: llvm.intr.{{fma|fmuladd}}
func.func @score(%q: memref<64x47xf32>, %bk: memref<64x64xbf16, strided<[?, ?], offset: ?>>, %out: memref<64x47xf32>) {
  %c0 = arith.constant 0 : index
  %query = tile.load %q[%c0, %c0] axes ["d", "h"] : memref<64x47xf32> -> !tile.tile<d 64, h 47, f32>
  %b = tile.load %bk[%c0, %c0] axes ["m", "d"] : memref<64x64xbf16, strided<[?, ?], offset: ?>> -> !tile.tile<m 64, d 64, bf16>
  %s = tile.dot %query, %b : !tile.tile<d 64, h 47, f32>, !tile.tile<m 64, d 64, bf16> -> !tile.tile<m 64, h 47, f32>
  tile.store %s, %out[%c0, %c0] axes ["m", "h"] : !tile.tile<m 64, h 47, f32> -> memref<64x47xf32>
  return
}
