/* Preloaded into every program that a test starts: refuses what would leave this machine, and
 * appends a line to the file in NETWORK_WATCH. Loopback and Unix sockets pass. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void command_line(char *text, size_t size) {
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, text, size - 1);
    if (fd >= 0) close(fd);
    if (length < 0) length = 0;
    for (ssize_t at = 0; at + 1 < length; at++)
        if (text[at] < ' ') text[at] = ' ';
    text[length] = 0;
}

static void report(const char *what, const char *target) {
    const char *path = getenv("NETWORK_WATCH");
    char command[200], line[600];
    int saved = errno, fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        command_line(command, sizeof command);
        int length = snprintf(line, sizeof line, "%s %s (%d: %s)\n", what, target, getpid(), command);
        if (write(fd, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1) < 0) abort();
        close(fd);
    }
    errno = saved;
}

static int is_here(const struct sockaddr *address, char *text, socklen_t size) {
    if (address == NULL) return 1;
    if (address->sa_family == AF_INET) {
        const struct in_addr *ip = &((const struct sockaddr_in *)address)->sin_addr;
        inet_ntop(AF_INET, ip, text, size);
        return ntohl(ip->s_addr) >> 24 == 127 || ip->s_addr == 0;
    }
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
        inet_ntop(AF_INET6, ip, text, size);
        return IN6_IS_ADDR_LOOPBACK(ip) || IN6_IS_ADDR_UNSPECIFIED(ip) ||
               (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
    }
    return 1;
}

static int refused(const char *what, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "";
    if (is_here(address, text, sizeof text)) return 0;
    report(what, text);
    errno = ENETUNREACH;
    return 1;
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
    return refused("connect", address) ? -1 : REAL(connect)(fd, address, size);
}

ssize_t sendto(int fd, const void *data, size_t count, int flags, const struct sockaddr *address,
               socklen_t size) {
    return refused("send", address) ? -1 : REAL(sendto)(fd, data, count, flags, address, size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    return refused("send", message->msg_name) ? -1 : REAL(sendmsg)(fd, message, flags);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
    unsigned char number[sizeof(struct in6_addr)];
    if (node == NULL || *node == 0 || strcmp(node, "localhost") == 0 ||
        inet_pton(AF_INET, node, number) == 1 || strchr(node, ':') != NULL)
        return REAL(getaddrinfo)(node, service, hints, result);
    report("lookup", node);
    return EAI_NONAME;
}
