// RUN: tpa-opt %s -tpa-tile-layouts -verify-diagnostics
// RUN: tpa-opt %s -tpa-tiles-to-cpu -verify-diagnostics
// RUN: not tpa-opt %s -tpa-tiles-to-cpu=lanes=3 2>&1 | FileCheck %s

// CHECK: options: expected lanes to be a power of two and registers >= 8, got lanes = 3, registers = 32
// expected-error @below {{expected no tiles as arguments or results, got '!tile.tile<h 4, f32>'}}
func.func private @argument(%a: !tile.tile<h 4, f32>) {
  return
}
