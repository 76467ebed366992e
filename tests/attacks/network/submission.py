"""Knocks at this machine's own servers, at names and addresses outside, and opens sockets of odd families."""

# %% after="work-test"
import socket
def attempt(name, call):
    try:
        print("LEAKED", name, call())
    except OSError as error:
        print(name, "refused:", error.strerror or error)
attempt("loopback", lambda: socket.create_connection(("127.0.0.1", 47631), 1))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\0autograder-attack"))
attempt("name", lambda: socket.getaddrinfo("example.com", 80))
attempt("outside", lambda: socket.create_connection(("192.0.2.1", 80), 1))
attempt("datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW))
attempt("alg", lambda: socket.socket(38, socket.SOCK_SEQPACKET))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
for path in ("/var/run/docker.sock", "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0"):
    attempt(path, lambda: socket.socket(socket.AF_UNIX).connect(path))
print("interfaces", socket.if_nameindex())
