/* Payload to files: zstd, tar (POSIX ustar: files, folders and links, names up to 255 bytes).
 *
 * Another thread hashes the payload meanwhile; the caller gets the folder only if the digest is
 * right. What is wrong in a payload ends the program with one line, and no file of it lies
 * outside of the folder.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define BLOCK 512
#define BUFFER_BYTES (1 << 20)
#define MAX_WINDOW_LOG 27 /* 128 MB, as scripts/packing/payload.py writes it */

struct stream {
    ZSTD_DStream *decoder;
    ZSTD_inBuffer input;
    uint64_t num_bytes; /* that may still come */
};

static _Noreturn void fail_as_damaged(const char *what) {
    fail(DAMAGED, "download the file again", "this file of " NAME " is damaged: %s", what);
}

static _Noreturn void fail_to_write(const char *name) {
    fail(NO_STORAGE, UNPACK_VARIABLE "=FOLDER names another folder", "cannot unpack %s: %s", name,
         strerror(errno));
}

/* Fill the buffer with the next bytes of the archive. */
static void pull(struct stream *stream, void *buffer, size_t num_bytes) {
    ZSTD_outBuffer output = {buffer, num_bytes, 0};
    if (num_bytes > stream->num_bytes)
        fail_as_damaged("the archive is too long");
    stream->num_bytes -= num_bytes;
    while (output.pos < output.size) {
        size_t before = output.pos, consumed = stream->input.pos;
        size_t result = ZSTD_decompressStream(stream->decoder, &output, &stream->input);
        if (ZSTD_isError(result))
            fail_as_damaged(ZSTD_getErrorName(result));
        if (output.pos == before && stream->input.pos == consumed)
            fail_as_damaged("the archive is too short");
    }
}

static uint64_t octal(const unsigned char *field, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value * 8 + (uint64_t)(field[i] - '0');
    return value;
}

static bool is_checked(const unsigned char *header) {
    uint64_t sum = 8 * ' ';
    for (int i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? 0 : header[i];
    return sum == octal(header + 148, 8);
}

/* Whether the path stays in the folder that it begins in. */
static bool is_inside(const char *path) {
    if (*path == '\0' || *path == '/')
        return false;
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static void read_path(const unsigned char *header, char path[BLOCK]) {
    size_t prefix = strnlen((const char *)header + 345, 155);
    size_t name = strnlen((const char *)header, 100);
    memcpy(path, header + 345, prefix);
    if (prefix > 0)
        path[prefix++] = '/';
    memcpy(path + prefix, header, name);
    path[prefix + name] = '\0';
    if (!is_inside(path))
        fail_as_damaged("it names a file outside of its folder");
}

static void write_file(struct stream *stream, int folder, const char *path, uint64_t size,
                       mode_t mode) {
    static unsigned char buffer[BUFFER_BYTES];
    int fd = openat(folder, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        fail_to_write(path);
    while (size > 0) {
        size_t part = size < BUFFER_BYTES ? (size_t)size : BUFFER_BYTES;
        pull(stream, buffer, part);
        size -= part;
        for (size_t done = 0; done < part;) {
            ssize_t written = write(fd, buffer + done, part - done);
            if (written < 0 && errno != EINTR)
                fail_to_write(path);
            done += written > 0 ? (size_t)written : 0;
        }
    }
    if (close(fd) != 0) /* a full disk may be told only here */
        fail_to_write(path);
}

static void link_file(int folder, const unsigned char *header, const char *path) {
    char target[101] = {0};
    memcpy(target, header + 157, 100);
    if (!is_inside(target))
        fail_as_damaged("a link leaves its folder");
    if (symlinkat(target, folder, path) != 0)
        fail_to_write(path);
}

/* Unpack one entry; return false at the end of the archive. */
static bool unpack_entry(struct stream *stream, int folder) {
    unsigned char header[BLOCK], padding[BLOCK];
    char path[BLOCK];
    pull(stream, header, BLOCK);
    if (header[0] == '\0')
        return false;
    if (!is_checked(header))
        fail_as_damaged("an entry has a wrong sum");
    uint64_t size = octal(header + 124, 12);
    mode_t mode = octal(header + 100, 8) & 0100 ? 0700 : 0600;
    read_path(header, path);
    switch (header[156]) {
    case '0':
        write_file(stream, folder, path, size, mode);
        pull(stream, padding, (BLOCK - size % BLOCK) % BLOCK);
        break;
    case '2':
        link_file(folder, header, path);
        break;
    case '5':
        if (mkdirat(folder, path, 0700) != 0)
            fail_to_write(path);
        break;
    default:
        fail_as_damaged("an entry has an unknown type");
    }
    return true;
}

static void *payload_is_right(void *argument) {
    static bool is_right;
    const struct program *program = argument;
    struct sha256 hash;
    unsigned char digest[DIGEST_BYTES];
    sha256_start(&hash);
    sha256_add(&hash, program->payload, program->payload_bytes);
    sha256_end(&hash, digest);
    is_right = memcmp(digest, program->digest, DIGEST_BYTES) == 0;
    return is_right ? &is_right : NULL;
}

void unpack(const struct program *program, const char *folder) {
    pthread_t thread;
    void *is_right = NULL;
    bool has_thread = pthread_create(&thread, NULL, payload_is_right, (void *)program) == 0;
    struct stream stream = {ZSTD_createDStream(), {program->payload, program->payload_bytes, 0},
                            program->unpacked_bytes};
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fail_to_write(folder);
    if (stream.decoder == NULL)
        fail(FAILED, NULL, "no memory is left");
    ZSTD_DCtx_setParameter(stream.decoder, ZSTD_d_windowLogMax, MAX_WINDOW_LOG);
    while (unpack_entry(&stream, fd))
        ;
    if (has_thread)
        pthread_join(thread, &is_right);
    else
        is_right = payload_is_right((void *)program);
    if (is_right == NULL)
        fail_as_damaged("its digest is wrong");
    if (syncfs(fd) != 0) /* a complete name implies complete content, also after a power cut */
        fail_to_write(folder);
    close(fd);
    ZSTD_freeDStream(stream.decoder);
}
