/* How Python would encode names, texts and the standard streams here.
 *
 * Python decides that by the locale of the environment, which counts only if the C library has
 * it installed (PEP 538, PEP 540). Known are the usual cases: a locale with UTF-8, and none at
 * all. For all others the answer is not known, and Python is asked: it runs the command itself.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCALES "/usr/lib/locale/"
#define ARCHIVE LOCALES "locale-archive"
#define UTF8 "C.UTF-8"

static const char *chosen_locale(void) {
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value != NULL && *value != '\0')
            return value;
    }
    return "C";
}

/* Whether the archive of glibc's locales has a name: among its strings, which end with NUL. */
static bool is_archived(const char *name) {
    struct stat status;
    uint32_t head[8]; /* magic, serial, names: offset, used, size; strings: offset, used, size */
    bool is_found = false;
    int fd = open(ARCHIVE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (read(fd, head, sizeof head) == sizeof head && fstat(fd, &status) == 0 &&
        (uint64_t)head[5] + head[6] <= (uint64_t)status.st_size) {
        void *data = mmap(NULL, head[5] + head[6], PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) {
            is_found = memmem((char *)data + head[5], head[6], name, strlen(name) + 1) != NULL;
            munmap(data, head[5] + head[6]);
        }
    }
    close(fd);
    return is_found;
}

/* Whether glibc has a locale LANGUAGE.UTF-8; it writes the encoding as "utf8" in its names. */
static bool is_installed(const char *locale) {
    char name[64], path[128];
    size_t language = strcspn(locale, ".");
    snprintf(path, sizeof path, LOCALES "%s/LC_CTYPE", locale);
    snprintf(name, sizeof name, "%.*s.utf8", (int)language, locale);
    if (access(path, R_OK) == 0 || is_archived(name))
        return true;
    snprintf(path, sizeof path, LOCALES "%s/LC_CTYPE", name);
    return access(path, R_OK) == 0;
}

static bool is_utf8_name(const char *locale) {
    const char *dot = strchr(locale, '.');
    return dot != NULL && strlen(locale) < 32 && strpbrk(locale, "/@ :") == NULL &&
           (strcasecmp(dot, ".UTF-8") == 0 || strcasecmp(dot, ".utf8") == 0);
}

bool describe_streams(char *text, size_t size) {
    const char *locale = chosen_locale(), *all = getenv("LC_ALL");
    const char *buffer = getenv("PYTHONUNBUFFERED");
    bool has_none = strcmp(locale, "C") == 0 || strcmp(locale, "POSIX") == 0;
    bool is_forced = all != NULL && *all != '\0';
    if (getenv("LOCPATH") != NULL || getenv("LOCALE_ARCHIVE") != NULL)
        return false;
    if (has_none && !is_forced) { /* Python takes the locale C.UTF-8 in its place */
        if (!is_installed(UTF8) || setenv("LC_CTYPE", UTF8, 1) != 0)
            return false;
    } else if (!has_none && !(is_utf8_name(locale) && is_installed(locale))) {
        return false;
    }
    bool is_strict = !has_none && strcmp(locale, UTF8) != 0 && strcmp(locale, "C.utf8") != 0;
    const char *errors = is_strict ? "strict" : "surrogateescape";
    int unbuffered = buffer != NULL && *buffer != '\0';
    snprintf(text, size, "utf-8:surrogateescape:%s utf-8:%s:%d utf-8:%s:%d utf-8:backslashreplace:%d",
             has_none ? "utf8" : "locale", errors, unbuffered, errors, unbuffered, unbuffered);
    return true;
}
