/* The launcher of the one-file program; main.c describes the whole. */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NAME "localrun"
#define UNPACK_VARIABLE "LOCALRUN_UNPACK"
#define DIGEST_BYTES 32
#define KEY_CHARS 32 /* hexadecimal digits of the payload's digest that name its folder */
#define NOT_RUN (-1)

/* Exit codes, as localrun/errors.py documents them. */
enum { FAILED = 1, DAMAGED = 4, NO_STORAGE = 8 };

/* This file: launcher, payload (tar, compressed by zstd), facts, trailer. */
struct program {
    const unsigned char *payload; /* mapped */
    size_t payload_bytes;
    uint64_t unpacked_bytes; /* of the tar archive */
    unsigned char digest[DIGEST_BYTES];
    char key[KEY_CHARS + 1];
    /* facts, each a string in the file */
    const char *version;
    const char *python;         /* path of the interpreter in the tree */
    const char *script;         /* path of the entry point in the tree */
    const char *protocol;       /* path of localrun/warm/protocol.py in the tree */
    const char *python_version; /* `sys.version` */
    const char *glibc;          /* the oldest that the tree runs with, such as 2.31 */
};

struct sha256 {
    uint32_t state[8];
    uint64_t num_bytes;
    unsigned char block[64];
};

/* main.c */
char *joined(const char *folder, const char *name);
_Noreturn void fail(int code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* program.c */
void read_program(struct program *program);

/* sha256.c */
void sha256_start(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const unsigned char *data, size_t num_bytes);
void sha256_end(struct sha256 *hash, unsigned char digest[DIGEST_BYTES]);

/* unpack.c: write the files of the payload into an empty folder */
void unpack(const struct program *program, const char *folder);

/* tree.c */
char *tree_path(const struct program *program);
void provide_tree(const struct program *program, const char *tree);

/* locale.c: what Python would say of names, texts, and the standard streams; false: not known */
bool describe_streams(char *text, size_t size);

/* client.c: the exit code of the command in a warm process, or NOT_RUN */
int run_warm(const struct program *program, const char *tree, char **arguments);

/* handover.c: the same, when a worker has accepted the command */
int run_worker(int connection, pid_t worker);

#endif
