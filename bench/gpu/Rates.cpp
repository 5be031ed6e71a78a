// SPDX-License-Identifier: Apache-2.0

#include "bench/gpu/Rates.h"

#include "bench/measure/Statistics.h"

#include <algorithm>

namespace tpac::device {

namespace {

/// Kernels that only move bytes: `copy_bytes` reads and writes, `read_bytes` reads (and writes where the bytes say so,
/// which they never do). Every thread moves 4 x 16 bytes at a time.
constexpr char moverSource[] = R"(
.version 7.0
.target sm_80
.address_size 64
.visible .entry copy_bytes(.param .u64 to, .param .u64 from, .param .u64 size) {
  .reg .pred %p;
  .reg .b32 %r<20>;
  .reg .b64 %d<10>;
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mov.u32 %r4, %nctaid.x;
  mul.wide.u32 %d1, %r1, %r2; cvt.u64.u32 %d2, %r3; add.u64 %d1, %d1, %d2; shl.b64 %d1, %d1, 4;
  mul.wide.u32 %d3, %r4, %r2; shl.b64 %d3, %d3, 4; shl.b64 %d4, %d3, 2;
  ld.param.u64 %d5, [to]; ld.param.u64 %d6, [from]; ld.param.u64 %d7, [size];
  cvta.to.global.u64 %d5, %d5; cvta.to.global.u64 %d6, %d6;
  add.u64 %d5, %d5, %d1; add.u64 %d6, %d6, %d1;
NEXT:
  setp.ge.u64 %p, %d1, %d7; @%p bra DONE;
  add.u64 %d8, %d6, %d3;
  ld.global.v4.b32 {%r4, %r5, %r6, %r7}, [%d6];
  ld.global.v4.b32 {%r8, %r9, %r10, %r11}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r12, %r13, %r14, %r15}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r16, %r17, %r18, %r19}, [%d8];
  add.u64 %d9, %d5, %d3;
  st.global.v4.b32 [%d5], {%r4, %r5, %r6, %r7};
  st.global.v4.b32 [%d9], {%r8, %r9, %r10, %r11}; add.u64 %d9, %d9, %d3;
  st.global.v4.b32 [%d9], {%r12, %r13, %r14, %r15}; add.u64 %d9, %d9, %d3;
  st.global.v4.b32 [%d9], {%r16, %r17, %r18, %r19};
  add.u64 %d1, %d1, %d4; add.u64 %d5, %d5, %d4; add.u64 %d6, %d6, %d4;
  bra NEXT;
DONE:
  ret;
}
.visible .entry read_bytes(.param .u64 to, .param .u64 from, .param .u64 size) {
  .reg .pred %p;
  .reg .b32 %r<24>;
  .reg .b64 %d<10>;
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mov.u32 %r4, %nctaid.x;
  mul.wide.u32 %d1, %r1, %r2; cvt.u64.u32 %d2, %r3; add.u64 %d1, %d1, %d2; shl.b64 %d1, %d1, 4;
  mul.wide.u32 %d3, %r4, %r2; shl.b64 %d3, %d3, 4; shl.b64 %d4, %d3, 2;
  ld.param.u64 %d5, [to]; ld.param.u64 %d6, [from]; ld.param.u64 %d7, [size];
  cvta.to.global.u64 %d5, %d5; cvta.to.global.u64 %d6, %d6;
  add.u64 %d6, %d6, %d1;
  mov.u32 %r20, 0;
NEXT:
  setp.ge.u64 %p, %d1, %d7; @%p bra DONE;
  add.u64 %d8, %d6, %d3;
  ld.global.v4.b32 {%r4, %r5, %r6, %r7}, [%d6];
  ld.global.v4.b32 {%r8, %r9, %r10, %r11}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r12, %r13, %r14, %r15}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r16, %r17, %r18, %r19}, [%d8];
  and.b32 %r4, %r4, %r5; and.b32 %r6, %r6, %r7; and.b32 %r8, %r8, %r9; and.b32 %r10, %r10, %r11;
  and.b32 %r12, %r12, %r13; and.b32 %r14, %r14, %r15; and.b32 %r16, %r16, %r17; and.b32 %r18, %r18, %r19;
  and.b32 %r4, %r4, %r6; and.b32 %r8, %r8, %r10; and.b32 %r12, %r12, %r14; and.b32 %r16, %r16, %r18;
  and.b32 %r4, %r4, %r8; and.b32 %r12, %r12, %r16; and.b32 %r4, %r4, %r12; or.b32 %r20, %r20, %r4;
  add.u64 %d1, %d1, %d4; add.u64 %d6, %d6, %d4;
  bra NEXT;
DONE:
  setp.ne.u32 %p, %r20, 0xffffffff; @%p ret;
  st.global.b32 [%d5], %r20;
  ret;
}
)";

} // namespace

MoveRates moveRates(Driver &driver, DevicePointer pool, size_t poolBytes, int replays) {
  const size_t bytes = poolBytes / 2;
  auto rateOf = [&](const char *kernel) {
    double best = 0;
    Launch launch;
    launch.function = driver.load(moverSource, kernel, 0);
    launch.threads = 256;
    for (int64_t perProcessor : {4, 8, 16, 32}) {
      launch.blocks = perProcessor * driver.multiprocessors();
      // Whole rounds of all threads.
      const size_t round = static_cast<size_t>(launch.blocks * launch.threads) * 64;
      const size_t moved = bytes / round * round;
      launch.parameters = {pool, pool + bytes, moved};
      const double seconds = bench::median(driver.timeGraph(replays, [&] { driver.launch(launch); }));
      best = std::max(best, static_cast<double>(moved) / seconds);
    }
    return best;
  };
  const double engine = bench::median(driver.timeGraph(replays, [&] { driver.copy(pool, pool + bytes, bytes); }));
  return {2.0 * std::max(rateOf("copy_bytes"), static_cast<double>(bytes) / engine), rateOf("read_bytes")};
}

void fillWith(Driver &driver, DevicePointer memory, size_t bytes, std::span<const std::byte> block) {
  const size_t first = std::min(bytes, block.size());
  driver.upload(memory, block.data(), first);
  for (size_t at = first; at < bytes; at += block.size())
    driver.copy(memory + at, memory, std::min(block.size(), bytes - at));
  driver.synchronize();
}

} // namespace tpac::device
