# SPDX-License-Identifier: Apache-2.0
# cmake -D INPUT=FILE -D OUTPUT=FILE.cpp -P Embed.cmake: the bytes of INPUT as what CpuLevelBitcode.h declares.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"lowering/emit/levels/CpuLevelBitcode.h\"\n"
  "static const char bytes[] = {${bytes}};\n"
  "llvm::StringRef tpac::cpuLevelBitcode() { return {bytes, sizeof(bytes)}; }\n")
