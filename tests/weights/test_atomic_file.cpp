// Writing whole or not at all.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <thread>

#include "build_files.h"
#include "kernels/error.h"
#include "weights/atomic_file.h"

namespace retrace::weights::test {
namespace fs = std::filesystem;
namespace {

std::span<const std::byte> bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

unsigned permissions(const fs::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 0777;
}

constexpr Durability durabilities[] = {Durability::flushed, Durability::cached};

}  // namespace

TEST_CASE("atomic file: replaced whole, through a link too") {
  for (const Durability durability : durabilities) {
    const TemporaryFolder folder;
    write_file(folder / "a", "old and longer");
    write_atomically(folder / "a", bytes("new"), durability);
    CHECK(read_file(folder / "a") == "new");
    fs::create_symlink("a", folder / "link");
    fs::create_symlink("link", folder / "link to the link");
    write_atomically(folder / "link to the link", bytes("linked"), durability);
    CHECK(read_file(folder / "a") == "linked");
    CHECK(fs::is_symlink(folder / "link"));
    CHECK(fs::is_symlink(folder / "link to the link"));
    CHECK(folder.entries() == 3);
    write_atomically(folder / "empty", bytes(""), durability);
    CHECK(fs::file_size(folder / "empty") == 0);
    const std::string first = "one, ", second = "two";
    const std::span<const std::byte> parts[] = {bytes(first), bytes(second)};
    write_atomically(folder / "parts", parts, durability);
    CHECK(read_file(folder / "parts") == "one, two");
    const std::string longest(255, 'n');  // as long as a name can be: no room for a suffix
    write_atomically(folder / longest, bytes("long"), durability);
    CHECK(read_file(folder / longest) == "long");
  }
}

TEST_CASE("atomic file: a name without a folder means the working folder") {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_atomically("plain", bytes("here"), Durability::flushed);
  fs::current_path(before);
  CHECK(read_file(folder / "plain") == "here");
  CHECK(folder.entries() == 1);
}

TEST_CASE("atomic file: nothing under the name before the commit, and nothing at all without one") {
  const TemporaryFolder folder;
  write_file(folder / "old", "old");
  {
    AtomicFile fresh(folder / "fresh"), other(folder / "old");
    fresh.write(bytes("fresh"));
    other.write(bytes("never finished"));
    CHECK(!fs::exists(folder / "fresh"));
    CHECK(folder.entries() <= 3);  // 1 where a file need not have a name
    fresh.commit();
    CHECK(read_file(folder / "fresh") == "fresh");
    CHECK(read_file(folder / "old") == "old");
  }
  CHECK(read_file(folder / "fresh") == "fresh");
  CHECK(read_file(folder / "old") == "old");
  CHECK(folder.entries() == 2);
}

TEST_CASE("atomic file: the permissions of any new file") {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  write_atomically(folder / "a", bytes("a"), Durability::cached);
  ::umask(before);
  CHECK(permissions(folder / "a") == 0640);
}

TEST_CASE("atomic file: what replaces a file may be read by those who might read that") {
  const TemporaryFolder folder;
  write_file(folder / "secret", "old");
  fs::permissions(folder / "secret", fs::perms(0600));
  write_atomically(folder / "secret", bytes("new"), Durability::cached);
  CHECK(read_file(folder / "secret") == "new");
  CHECK(permissions(folder / "secret") == 0600);
}

TEST_CASE("atomic file: nothing is left of one whose process is killed, where files need no name") {
  const TemporaryFolder folder;
  const int probe = ::open(folder.path().c_str(), O_WRONLY | O_TMPFILE, 0600);
  if (probe < 0) {
    MESSAGE("skipped: the file system has no files without a name");
    return;
  }
  ::close(probe);
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(folder / "a");
    file.write(bytes("half"));
    ::kill(::getpid(), SIGKILL);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(folder.entries() == 0);
}

TEST_CASE("atomic file: where a file without a name cannot get one, it is copied to one that has") {
  const TemporaryFolder folder;
  const std::string text(3'000'000, 'x');
  const pid_t child = ::fork();
  if (child == 0) {
    // linkat fails, whatever it is asked.
    sock_filter refuse[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog filter{4, refuse};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(2);
    try {
      for (const Durability durability : durabilities)
        write_atomically(folder / "a", bytes(text), durability);
      ::_exit(0);
    } catch (const Error&) {
      ::_exit(1);
    }
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) {
    MESSAGE("skipped: this system lets no filter refuse a call");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(read_file(folder / "a") == text);
  CHECK(folder.entries() == 1);
}

TEST_CASE("atomic file: what cannot be written is an error that names it, and leaves nothing behind") {
  const TemporaryFolder folder;
  const auto refused = [&](const fs::path& path, const char* why) {
    const std::size_t before = folder.entries();
    for (const Durability durability : durabilities) {
      const std::string message = error_of([&] { write_atomically(path, bytes("text"), durability); });
      CHECK(contains(message, why));
      CHECK(contains(message, path.string() + ": cannot be written: "));
    }
    CHECK(folder.entries() == before);
  };
  refused(folder / "no/such/folder", "no file can be created beside it: No such file");
  refused(folder.path() / "", "not a file name");
  CHECK(contains(error_of([] { write_atomically("", bytes("x"), Durability::cached); }),
                 "'': cannot be written"));
  fs::create_directory(folder / "sub");
  refused(folder / "sub", "it is a folder");
  // A pipe stands for every device: renaming over one would take it away from the whole machine.
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  refused(folder / "pipe", "not a regular file");
  CHECK(fs::is_fifo(folder / "pipe"));
  refused("/dev/full", "not a regular file");
  fs::create_symlink("nowhere", folder / "dangling");
  refused(folder / "dangling", "points nowhere");
  fs::create_symlink("loop", folder / "loop");
  refused(folder / "loop", "symbolic links");
  write_file(folder / "file", "x");
  refused(folder / "file" / "below", "Not a directory");
  if (::geteuid() != 0) {  // root may write anywhere
    write_file(folder / "protected", "old");
    fs::permissions(folder / "protected", fs::perms::owner_read);
    refused(folder / "protected", "Permission denied");
    fs::permissions(folder / "sub", fs::perms::owner_read | fs::perms::owner_exec);
    refused(folder / "sub" / "new", "Permission denied");
    fs::permissions(folder / "sub", fs::perms::owner_all);
    CHECK(read_file(folder / "protected") == "old");
  }
}

TEST_CASE("atomic file: a failed write keeps the old file and removes the new one") {
  // A limit on the file size stands for a full disk: both fail a write half-way. It belongs to the process, so a
  // child tries it.
  const TemporaryFolder folder;
  write_file(folder / "a", "old");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    bool failed = false;
    try {
      write_atomically(folder / "a", bytes(std::string(5000, 'x')), Durability::cached);
    } catch (const Error& error) {
      failed = contains(error.what(), "a: cannot be written: File too large");
    }
    ::_exit(failed ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(read_file(folder / "a") == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("atomic file: leftovers of another process are stepped over, and threads do not meet") {
  const TemporaryFolder folder;
  // A process with this one's number may have left any of the next names.
  for (int i = 0; i < 300; ++i) {
    write_file(folder.path() / (".retrace-" + std::to_string(::getpid()) + "-" + std::to_string(i) + ".tmp"),
               "left");
  }
  const std::size_t leftovers = folder.entries();
  std::vector<std::string> texts;
  for (int i = 0; i < 4; ++i) texts.emplace_back(100000, char('a' + i));
  std::atomic<int> torn{0};
  {
    std::vector<std::jthread> writers;
    for (const std::string& text : texts) {
      writers.emplace_back([&] {
        for (int round = 0; round < 20; ++round) {
          write_atomically(folder / "shared", bytes(text), Durability::cached);
          const std::string seen = read_file(folder / "shared");
          if (seen.size() != 100000 || seen.find_first_not_of(seen[0]) != seen.npos) ++torn;
        }
      });
    }
  }
  CHECK(torn == 0);
  CHECK(folder.entries() == leftovers + 1);
  CHECK(read_file(folder.path() / (".retrace-" + std::to_string(::getpid()) + "-0.tmp")) == "left");
}

}  // namespace retrace::weights::test
