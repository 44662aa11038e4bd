// The main of every test program: doctest's, but a test meant for a GPU says so and is skipped where none is.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  return context.run();
}
