//! `brevity devices`, without CUDA and with libraries in its place that answer as drivers do.

#![cfg(target_os = "linux")]

use std::process::Command;

use crate::scratch::{Ran, Scratch};

/// As much of a driver as is asked for, with what it finds in macros.
const DRIVER: &str = r#"
#include <string.h>
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuInit(unsigned flags) { return START; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int bytes, int device) { strncpy(name, "NVIDIA H200", bytes); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? MAJOR : 0; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 150ull << 30; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = 0; return device == 1 ? 999 : 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = 149ull << 30; *total = 150ull << 30; return 0; }
int cuGetErrorString(int code, const char **text) { *text = "no text"; return 0; }
"#;

const COMPILER: &str = "int nvrtcVersion(int *major, int *minor) { *major = MAJOR; *minor = 9; return 0; }";

/// Builds `lib/NAME` of `source`, with each of `macros` defined.
fn build(scratch: &Scratch, name: &str, source: &str, macros: &[&str]) {
    scratch.write("lib/source.c", source.as_bytes());
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(scratch.path(&format!("lib/{name}")));
    compiler.args(macros.iter().map(|of| format!("-D{of}"))).arg(scratch.path("lib/source.c"));
    assert!(compiler.status().expect("a C compiler, which building needs too").success(), "{name}");
}

/// `brevity devices` where the libraries of `lib` are found before all others.
fn devices(scratch: &Scratch) -> String {
    let mut command = scratch.command(&["devices"]);
    command.env("LD_LIBRARY_PATH", scratch.path("lib"));
    let ran = Ran::from(command.output().expect("the program starts"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    ran.stdout
}

/// The lines of `text` as one, without the first, which is the processor's.
fn below_the_processor(text: &str) -> String {
    let (processor, rest) = text.split_once('\n').expect("several lines");
    let words: Vec<&str> = processor.split_whitespace().collect();
    assert!(words[0] == "cpu" && words[2].starts_with("core") && processor.ends_with("GiB available"), "{processor}");
    rest.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_way_in_which_cuda_is_missing_is_said_with_a_remedy() {
    let scratch = Scratch::new();
    build(&scratch, "libnvrtc.so", "int something_else;", &[]);
    for (macros, expected) in [
        (
            None,
            "driver not usable: NVIDIA's driver (libcuda) was not found; install NVIDIA's driver; in a container, pass",
        ),
        (
            Some(["VERSION=11080", "START=0", "COUNT=1", "MAJOR=9"]),
            "the driver is for CUDA 11.8, older than 12.0; install a",
        ),
        (
            Some(["VERSION=12080", "START=100", "COUNT=0", "MAJOR=9"]),
            "cards not usable: the driver knows no card; check that",
        ),
        (
            Some(["VERSION=12080", "START=0", "COUNT=0", "MAJOR=9"]),
            "driver for CUDA 12.8 cards not usable: the driver knows no",
        ),
        (
            Some(["VERSION=12080", "START=803", "COUNT=1", "MAJOR=9"]),
            "the driver refused to start with code 803; check that",
        ),
        (
            Some(["VERSION=12080", "START=0", "COUNT=1", "MAJOR=7"]),
            "its compute capability is 7.0, below 8.0; use a card of",
        ),
    ] {
        match &macros {
            Some(macros) => build(&scratch, "libcuda.so", DRIVER, macros),
            // Some other library of that name, even where the machine has a driver.
            None => build(&scratch, "libcuda.so", "int something_else;", &[]),
        }
        let found = below_the_processor(&devices(&scratch));
        assert!(found.contains(expected), "{macros:?}: {expected} is not in {found}");
        assert!(
            found.contains("NVRTC not usable: NVRTC of CUDA 12 (libnvrtc) was not found; install it (pip"),
            "{found}"
        );
    }
}

#[test]
fn cards_are_listed_with_memory_and_the_one_that_refuses_with_the_reason() {
    let scratch = Scratch::new();
    build(&scratch, "libcuda.so", DRIVER, &["VERSION=13000", "START=0", "COUNT=2", "MAJOR=9"]);
    for (major, expected) in
        [(12, "NVRTC of CUDA 12.9"), (11, "NVRTC not usable: NVRTC is of CUDA 11.9, older than 12.0;")]
    {
        build(&scratch, "libnvrtc.so", COMPILER, &[&format!("MAJOR={major}")]);
        let found = below_the_processor(&devices(&scratch));
        for part in [
            "cuda:0 NVIDIA H200, compute capability 9.0, 149.00 GiB free of 150.00 GiB cuda:1",
            "150.00 GiB; not usable: the driver refused a context on the card with code 999; check that nvidia-smi",
            "driver for CUDA 13.0",
            expected,
        ] {
            assert!(found.contains(part), "{part} is not in {found}");
        }
    }
}

#[test]
fn a_machine_as_it_is_has_its_processor_and_no_failure() {
    let ran = Scratch::new().succeed(&["devices"]);
    assert!(ran.stdout.starts_with("cpu ") && ran.stdout.contains("\ndriver "), "{}", ran.stdout);
}
