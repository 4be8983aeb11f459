/* Reader of this file's own payload and facts.
 *
 *     launcher | payload | facts | trailer
 *
 * The facts are strings, each with its NUL, in the order of `struct program`. The trailer has 112
 * bytes: magic (16), offset of the payload, its size, the size of the tar archive in it, the size
 * of the facts (8 each, little-endian), SHA-256 of the payload (32), and of the facts together with
 * the trailer up to here (32).
 * scripts/packing/payload.py writes all of it.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "localrun-file-01"
#define TRAILER_BYTES 112
#define MAX_FACTS_BYTES 4096
#define DAMAGED_HINT "download the file again"

static _Noreturn void fail_as_damaged(void) {
    fail(DAMAGED, DAMAGED_HINT, "this file of " NAME " is damaged or not complete");
}

static uint64_t number(const unsigned char *bytes) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static const unsigned char *mapped_file(size_t *size) {
    struct stat status;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        fail(FAILED, NULL, "cannot read /proc/self/exe: %s", strerror(errno));
    *size = (size_t)status.st_size;
    void *data = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        fail(FAILED, NULL, "cannot read /proc/self/exe: %s", strerror(errno));
    close(fd);
    return data;
}

static void read_facts(struct program *program, const char *text, size_t size) {
    const char **facts[] = {&program->version,  &program->python,         &program->script,
                            &program->protocol, &program->python_version, &program->glibc};
    const char *end = text + size;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const char *terminator = memchr(text, '\0', (size_t)(end - text));
        if (terminator == NULL)
            fail_as_damaged();
        *facts[i] = text;
        text = terminator + 1;
    }
}

void read_program(struct program *program) {
    size_t size;
    struct sha256 hash;
    unsigned char digest[DIGEST_BYTES];
    const unsigned char *data = mapped_file(&size);
    if (size < TRAILER_BYTES)
        fail_as_damaged();
    const unsigned char *trailer = data + size - TRAILER_BYTES;
    uint64_t offset = number(trailer + 16), payload_bytes = number(trailer + 24);
    uint64_t facts_bytes = number(trailer + 40), end = size - TRAILER_BYTES;
    if (memcmp(trailer, MAGIC, 16) != 0 || facts_bytes > MAX_FACTS_BYTES || facts_bytes > end ||
        offset > end - facts_bytes || payload_bytes != end - facts_bytes - offset)
        fail_as_damaged();
    program->payload = data + offset;
    program->payload_bytes = payload_bytes;
    program->unpacked_bytes = number(trailer + 32);
    memcpy(program->digest, trailer + 48, DIGEST_BYTES);
    for (int i = 0; i < KEY_CHARS / 2; i++)
        sprintf(program->key + 2 * i, "%02x", program->digest[i]);
    sha256_start(&hash);
    sha256_add(&hash, trailer - facts_bytes, facts_bytes + 80);
    sha256_end(&hash, digest);
    if (memcmp(digest, trailer + 80, DIGEST_BYTES) != 0)
        fail_as_damaged();
    read_facts(program, (const char *)trailer - facts_bytes, facts_bytes);
}
