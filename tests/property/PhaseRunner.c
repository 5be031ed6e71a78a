/* SPDX-License-Identifier: Apache-2.0
 *
 * PhaseRunner LIBRARY: calls functions of a pack for a process of another architecture (EmulatedProgram.cpp), which it
 * talks to through stdin and stdout. Both sides are little-endian.
 *
 * A call:    i64 words, including the first; i64 length and bytes of the function's name; the same of the function that
 *            gives the workspace's size (0 bytes: none); then every word but the first, each led by an i64 that tells
 *            its kind.
 *              VALUE    i64
 *              ARRAY    i64 count, values: a pointer to them, or NULL for 0 of them
 *              MEMORY   i64 bytes, i64 address modulo 64, bytes: a pointer to them
 * Its reply: i64 status, i64 length and bytes of its text, then the bytes of every MEMORY in their order. */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VALUE, ARRAY, MEMORY };
enum { EXECUTOR_WORDS = 1, WORKSPACE_WORDS = 2, LARGEST_BLOCK = 256, NAME_BYTES = 512, LINE = 64 };

static void fail(const char *what) {
  fprintf(stderr, "PhaseRunner: %s\n", what);
  exit(1);
}

static void receive(void *data, size_t bytes) {
  for (char *next = data; bytes > 0;) {
    const ssize_t count = read(0, next, bytes);
    if (count <= 0)
      exit(count == 0 ? 0 : 1); /* the other side is done */
    next += count;
    bytes -= (size_t)count;
  }
}

static void reply(const void *data, size_t bytes) {
  for (const char *next = data; bytes > 0;) {
    const ssize_t count = write(1, next, bytes);
    if (count <= 0)
      fail("the reply could not be written");
    next += count;
    bytes -= (size_t)count;
  }
}

static int64_t receiveNumber(void) {
  int64_t number;
  receive(&number, sizeof number);
  return number;
}

static void replyNumber(int64_t number) { reply(&number, sizeof number); }

static void receiveName(char *name) {
  const int64_t length = receiveNumber();
  if (length < 0 || length >= NAME_BYTES)
    fail("a name is too long");
  receive(name, (size_t)length);
  name[length] = '\0';
}

static void *allocate(size_t bytes) {
  void *memory = aligned_alloc(LINE, (bytes + 2 * LINE) / LINE * LINE);
  if (!memory)
    fail("out of memory");
  return memory;
}

static void *symbol(void *library, const char *name) {
  void *address = dlsym(library, name);
  if (!address)
    fail(dlerror());
  return address;
}

int main(int argc, char **argv) {
  void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
  if (!library)
    fail(argc == 2 ? dlerror() : "expected one argument, a library");

  for (;;) {
    int64_t words[LARGEST_BLOCK] = {0};
    char name[NAME_BYTES], workspaceName[NAME_BYTES];
    struct {
      void *allocation;
      char *data;
      size_t bytes;
      int isMemory;
    } pieces[LARGEST_BLOCK];
    int pieceCount = 0;

    const int64_t count = receiveNumber();
    if (count < 1 || count > LARGEST_BLOCK - EXECUTOR_WORDS - WORKSPACE_WORDS)
      fail("the argument block is too long");
    receiveName(name);
    receiveName(workspaceName);
    for (int64_t word = 1; word < count; ++word) {
      const int64_t kind = receiveNumber(), first = receiveNumber();
      if (kind == VALUE) {
        words[word] = first;
        continue;
      }
      const size_t bytes = (size_t)first * (kind == ARRAY ? sizeof(int64_t) : 1);
      const int64_t offset = kind == MEMORY ? receiveNumber() : 0;
      char *allocation = allocate(bytes + LINE);
      receive(allocation + offset, bytes);
      words[word] = kind == ARRAY && bytes == 0 ? 0 : (int64_t)(intptr_t)(allocation + offset);
      pieces[pieceCount].allocation = allocation;
      pieces[pieceCount].data = allocation + offset;
      pieces[pieceCount].bytes = bytes;
      pieces[pieceCount].isMemory = kind == MEMORY;
      ++pieceCount;
    }

    void *workspace = NULL;
    int64_t total = count + EXECUTOR_WORDS;
    if (workspaceName[0]) {
      int64_t (*size)(int64_t, int64_t, int64_t) =
          (int64_t (*)(int64_t, int64_t, int64_t))symbol(library, workspaceName);
      const int64_t bytes = size(words[1], words[2], words[3]);
      workspace = allocate((size_t)bytes);
      memset(workspace, 0xff, (size_t)bytes);
      words[total++] = (int64_t)(intptr_t)workspace;
      words[total++] = bytes;
    }
    words[0] = total * (int64_t)sizeof words[0];

    int32_t (*function)(const void *) = (int32_t (*)(const void *))symbol(library, name);
    const int32_t status = function(words);

    /* PREFIX_PHASE: the text is that of PREFIX_status_message. */
    strcpy(strrchr(name, '_'), "_status_message");
    const char *(*message)(int32_t) = (const char *(*)(int32_t))symbol(library, name);
    const char *text = message(status);
    replyNumber(status);
    replyNumber((int64_t)strlen(text));
    reply(text, strlen(text));
    for (int piece = 0; piece < pieceCount; ++piece) {
      if (pieces[piece].isMemory)
        reply(pieces[piece].data, pieces[piece].bytes);
      free(pieces[piece].allocation);
    }
    free(workspace);
  }
}
