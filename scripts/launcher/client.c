/* Thin client: hands the command to the warm process of a running server.
 *
 * The same conditions, the same request and the same doubts as in localrun/front.py, whose
 * protocol localrun/warm/protocol.py describes. Whatever is not certain returns NOT_RUN, and
 * Python takes the command.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_ADDRESS "127.0.0.1:11435"
#define MAX_PATH_BYTES 100
#define REPLY_TIMEOUT_S 10
#define HEAD_BYTES 8
#define REPLY_BYTES 5
#define NUM_FILES 4 /* folder, stdin, stdout, stderr */

extern char **environ;

struct text {
    char *data;
    size_t size, room;
};

static bool begins_with(const char *text, const char *beginning) {
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Whether a path in the text may mean something else in another process. */
static bool names_own_files(const char *text) {
    static const char *const own[] = {"/dev/", "/proc/", "--install-completion", "--show-completion"};
    static const char *const streams[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/null"};
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        if (strcmp(text, streams[i]) == 0)
            return false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strstr(text, own[i]) != NULL)
            return true;
    return false;
}

static bool is_usual_environment(void) {
    for (char **each = environ; *each != NULL; each++) {
        const char *value = strchr(*each, '=');
        if (value == NULL || value == *each) /* Python leaves it out */
            return false;
        size_t size = (size_t)(value + 1 - *each);
        if (begins_with(*each, "PYTHON") && !begins_with(*each, "PYTHONDONTWRITEBYTECODE=") &&
            !begins_with(*each, "PYTHONUNBUFFERED="))
            return false;
        if (begins_with(*each, "LOCALRUN_") && names_own_files(value + 1))
            return false;
        for (char **other = environ; other != each; other++)
            if (strncmp(*each, *other, size) == 0) /* Python takes the first */
                return false;
    }
    return true;
}

static bool is_eligible(char **arguments) {
    const char *warm = getenv("LOCALRUN_WARM");
    sigset_t blocked, none;
    if (warm != NULL && strcmp(warm, "0") == 0)
        return false;
    if (arguments[1] != NULL && strcmp(arguments[1], "serve") == 0)
        return false; /* a server must not be a part of another */
    for (char **each = arguments + 1; *each != NULL; each++)
        if (names_own_files(*each))
            return false;
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            return false;
    sigemptyset(&none);
    if (getuid() != geteuid() || sigprocmask(SIG_BLOCK, NULL, &blocked) != 0 ||
        memcmp(&blocked, &none, sizeof none) != 0)
        return false;
    pid_t foreground = tcgetpgrp(0);
    return (foreground < 0 || foreground == getpgrp()) && is_usual_environment();
}

/* Put the address of the warm process's socket; the folder must be closed to other users. */
static bool find_socket(struct sockaddr_un *address) {
    const char *host = getenv("LOCALRUN_HOST"), *runtime = getenv("XDG_RUNTIME_DIR");
    char folder[MAX_PATH_BYTES + 1];
    struct stat status;
    if (host == NULL || *host == '\0')
        host = DEFAULT_ADDRESS;
    int size = runtime != NULL && *runtime == '/'
                   ? snprintf(folder, sizeof folder, "%s/" NAME, runtime)
                   : snprintf(folder, sizeof folder, "/tmp/" NAME "-%d", (int)getuid());
    if (size >= (int)sizeof folder || strchr(host, '/') != NULL)
        return false;
    address->sun_family = AF_UNIX;
    size = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s.warm", folder, host);
    return size <= MAX_PATH_BYTES && lstat(folder, &status) == 0 && S_ISDIR(status.st_mode) &&
           !(status.st_mode & 077) && status.st_uid == geteuid();
}

static bool is_own(int connection) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == geteuid();
}

static void add(struct text *text, const char *field) {
    size_t size = strlen(field) + 1;
    if (text->size + size > text->room) {
        text->room = 2 * (text->room + size);
        if ((text->data = realloc(text->data, text->room)) == NULL)
            fail(FAILED, NULL, "no memory is left");
    }
    memcpy(text->data + text->size, field, size);
    text->size += size;
}

/* The numbers of the signals that Python, too, would ignore. */
static void list_ignored(char *text, size_t size) {
    struct sigaction action;
    *text = '\0';
    for (int number = 1; number < NSIG; number++) {
        bool is_ignored = sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
        if (is_ignored || number == SIGPIPE || number == SIGXFSZ)
            snprintf(text + strlen(text), size - strlen(text), *text ? " %d" : "%d", number);
    }
}

static bool write_request(const struct program *program, const char *tree, char **arguments,
                          struct text *text) {
    char streams[128], ignored[256], number[16], *build = NULL;
    int num_arguments = 0;
    mode_t mask = umask(077);
    umask(mask);
    if (!describe_streams(streams, sizeof streams))
        return false;
    while (arguments[num_arguments] != NULL)
        num_arguments++;
    if (asprintf(&build, "%s %s %s %s/%s", program->version, program->python_version, tree, tree,
                 program->protocol) < 0)
        return false;
    list_ignored(ignored, sizeof ignored);
    add(text, "LRW1...."); /* the head; its NUL is overwritten below */
    text->size--;
    add(text, build);
    add(text, "command");
    snprintf(number, sizeof number, "%d", (int)mask);
    add(text, number);
    add(text, streams);
    add(text, ignored);
    snprintf(number, sizeof number, "%d", num_arguments);
    add(text, number);
    char *script = joined(tree, program->script);
    add(text, script); /* sys.argv[0] */
    for (char **each = arguments + 1; *each != NULL; each++)
        add(text, *each);
    for (char **each = environ; *each != NULL; each++)
        add(text, *each);
    text->size--; /* NUL separates */
    for (int i = 0; i < 4; i++)
        text->data[4 + i] = (char)((text->size - HEAD_BYTES) >> (24 - 8 * i));
    free(script);
    free(build);
    return true;
}

static bool send_all(int connection, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send(connection, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        data += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

static bool send_head(int connection, const char *head) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(NUM_FILES * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)head, HEAD_BYTES};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    int files[NUM_FILES] = {open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), 0, 1, 2};
    if (files[0] < 0) /* it does not exist any more */
        return false;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof files);
    memcpy(CMSG_DATA(&control.header), files, sizeof files);
    bool is_sent = sendmsg(connection, &message, MSG_NOSIGNAL) == HEAD_BYTES;
    close(files[0]);
    return is_sent;
}

/* Send the command; return the process id of its worker, 0 if it was refused. */
static pid_t submit(int connection, const struct text *request) {
    unsigned char answer[REPLY_BYTES];
    char hello;
    if (recv(connection, &hello, 1, 0) != 1 || hello != 'H' ||
        !send_head(connection, request->data) ||
        !send_all(connection, request->data + HEAD_BYTES, request->size - HEAD_BYTES) ||
        recv(connection, answer, REPLY_BYTES, 0) != REPLY_BYTES || answer[0] != 'P')
        return 0;
    pid_t pid = (pid_t)((uint32_t)answer[1] << 24 | (uint32_t)answer[2] << 16 |
                        (uint32_t)answer[3] << 8 | answer[4]);
    return pid > 1 ? pid : 0;
}

int run_warm(const struct program *program, const char *tree, char **arguments) {
    struct sockaddr_un address = {0};
    struct text request = {0};
    struct timeval timeout = {REPLY_TIMEOUT_S, 0}, none = {0};
    int code = NOT_RUN;
    if (!is_eligible(arguments) || !find_socket(&address))
        return NOT_RUN;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0)
        return NOT_RUN;
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) == 0 &&
        is_own(connection) && write_request(program, tree, arguments, &request)) {
        pid_t worker = submit(connection, &request);
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
        if (worker > 0)
            code = run_worker(connection, worker);
    }
    free(request.data);
    close(connection);
    return code;
}
