// SPDX-License-Identifier: Apache-2.0
//
// Which vector instructions this machine has, as far as the ceilings use them.

#ifndef TPAC_BENCH_CEILING_ISA_H
#define TPAC_BENCH_CEILING_ISA_H

#include <string>

namespace tpac::bench {

enum class Isa { portable, avx2, avx512 };

/// The widest of this machine.
Isa bestIsa();
/// "portable", "avx2", "avx512".
std::string isaName(Isa isa);

/// Empty if AMX with bf16 can be used - the permission that Linux wants is then asked for and granted -, else why not.
const std::string &amxObstacle();

} // namespace tpac::bench

#endif // TPAC_BENCH_CEILING_ISA_H
