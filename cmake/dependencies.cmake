# Everything here is a Debian/Ubuntu package; -DCMAKE_PREFIX_PATH=DIR finds a folder made by tools/offline-deps.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED COMPONENTS context)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(doctest REQUIRED)
find_package(ZLIB REQUIRED)

# stb is a set of headers; some packages put them in a folder of their own.
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb REQUIRED)
find_library(STB_LIBRARY stb)
