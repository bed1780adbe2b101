//! The sources built with the system's C++ compiler over `cuda/emulation`, and kernels run there with the threads of a block
//! taking turns in one of three orders.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    ffi::{CString, c_char, c_int, c_uint, c_void},
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
};

use kernels::cuda::{
    launch::Launch,
    sources::{Source, definitions, source_of},
};

use crate::card::sources_by_width;

type Entry = unsafe extern "C" fn(*mut *mut c_void);
type Emulate = unsafe extern "C" fn(*const c_char, Entry, *mut *mut c_void, c_uint, c_uint, c_int, usize, c_int);

/// Libraries of all sources, each with its head width.
pub(crate) struct Emulator {
    libraries: BTreeMap<(&'static str, usize), *mut c_void>,
}

impl Emulator {
    /// Builds what is not there yet into `directory`.
    pub(crate) fn build(directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let wanted = sources_by_width();
        let left = Mutex::new(wanted.clone());
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| build_left(directory, &left));
            }
        });
        let open = |(source, width): (&'static Source, usize)| {
            let path = CString::new(library(directory, source, width).as_os_str().as_encoded_bytes()).expect("a path");
            // SAFETY: the library was built above and runs no code when it is loaded but C++'s.
            let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
            assert!(!library.is_null(), "{} can't be loaded", path.to_string_lossy());
            ((source.name, width), library)
        };
        Self { libraries: wanted.into_iter().map(open).collect() }
    }

    /// Runs a kernel of a source for one head width, 0 where it is for any; `turns` below 3 is the order of the threads.
    pub(crate) fn run(&self, head_width: usize, launch: &Launch, arguments: &mut [*mut c_void], turns: usize) {
        let library = self.libraries[&(source_of(launch.kernel).name, head_width)];
        let symbol = |name: &str| {
            let name = CString::new(name).expect("a name");
            // SAFETY: the library is loaded.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!found.is_null(), "{name:?} is not in its library");
            found
        };
        // SAFETY: `ENTRY` of card.h defines it so.
        let entry: Entry = unsafe { std::mem::transmute(symbol(&format!("emulate_{}", launch.kernel))) };
        // SAFETY: card.cpp defines it so.
        let emulate: Emulate = unsafe { std::mem::transmute(symbol("emulate")) };
        let name = CString::new(launch.kernel).expect("a name");
        let [columns, rows] = launch.grid.map(|blocks| c_uint::try_from(blocks).expect("blocks of a grid"));
        let [threads, turns] = [launch.threads, turns].map(|count| c_int::try_from(count).expect("threads of a block"));
        let shared_bytes = launch.shared_bytes;
        // SAFETY: the arguments are those of the kernel; what it does beside its arrays ends the program.
        unsafe { emulate(name.as_ptr(), entry, arguments.as_mut_ptr(), columns, rows, threads, shared_bytes, turns) };
    }
}

/// Where the sources lie.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda")
}

fn file_name(source: &Source, width: usize) -> String {
    format!("{}-{width}", source.name.trim_end_matches(".cu"))
}

fn library(directory: &Path, source: &Source, width: usize) -> PathBuf {
    directory.join(format!("{}.so", file_name(source, width)))
}

/// Takes sources until none is left, each with its head width.
fn build_left(directory: &Path, left: &Mutex<Vec<(&Source, usize)>>) {
    let next = || left.lock().expect("no builder panics").pop();
    while let Some((source, width)) = next() {
        build(directory, source, width);
    }
}

/// Undefined behaviour ends the program with a trap; products are contracted nowhere.
const OPTIONS: [&str; 12] = [
    "-std=c++20",
    "-O2",
    "-shared",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fsanitize=undefined",
    "-fsanitize-undefined-trap-on-error",
];

/// Builds a source's library where it is not there for these texts and options.
#[expect(clippy::disallowed_methods, reason = "build outputs are no run directory")]
fn build(directory: &Path, source: &Source, width: usize) {
    let entries: String = source.kernels.iter().flat_map(|kernel| ["ENTRY(", kernel, ")\n"]).collect();
    let text = format!("#include \"{}\"\n{entries}", source.name);
    let options = [definitions(source, width), OPTIONS.map(str::to_owned).to_vec()].concat();
    let mut hasher = DefaultHasher::new();
    (&text, &options).hash(&mut hasher);
    for folder in [sources(), sources().join("emulation")] {
        let files = fs::read_dir(folder).expect("the sources").map(|file| file.expect("a file").path());
        // Other sources are not part of this one.
        let is_read =
            |file: &PathBuf| file.is_file() && (file.extension() != Some("cu".as_ref()) || file.ends_with(source.name));
        let mut files: Vec<PathBuf> = files.filter(is_read).collect();
        files.sort();
        for file in files {
            fs::read(file).expect("a source").hash(&mut hasher);
        }
    }
    let stamp = directory.join(format!("{}.stamp", file_name(source, width)));
    let key = format!("{:016x}", hasher.finish());
    if fs::read_to_string(&stamp).is_ok_and(|kept| kept == key) && library(directory, source, width).is_file() {
        return;
    }
    let own = directory.join(format!("{}.cpp", file_name(source, width)));
    fs::write(&own, text).expect("a file among build outputs");
    let mut compiler = Command::new("c++");
    compiler.args(&options).arg("-I").arg(sources().join("emulation")).arg("-I").arg(sources());
    compiler.arg(&own).arg(sources().join("emulation/card.cpp")).arg("-o").arg(library(directory, source, width));
    let status = compiler.status().unwrap_or_else(|error| panic!("cannot start c++: {error}; install a C++ compiler"));
    assert!(status.success(), "the C++ compiler refused {}", source.name);
    fs::write(stamp, key).expect("a file among build outputs");
}
