//! A card in the memory of the host, for checks on a machine without one: the sources built with the system's C++ compiler
//! over `cuda/emulation`, kernels run there with the threads of a block taking turns in one of three orders, and products as
//! plain loops. It is slow, and strict: memory ends at a page that can't be accessed, and holds no numbers until something
//! writes them.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    ffi::{CString, c_char, c_int, c_uint, c_void},
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    ptr, slice,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{
    Unusable,
    array::Bf16,
    gathering::{Asked, Direct, Gathering, Start},
    launch::Launch,
    machine::{Product, Side},
    parameters::Address,
    sources::{SOURCES, Source, Width, definitions, source_of},
};

type Entry = unsafe extern "C" fn(*mut *mut c_void);
type Emulate = unsafe extern "C" fn(*const c_char, Entry, *mut *mut c_void, c_uint, c_uint, c_int, usize, c_int);

const PAGE_BYTES: usize = 4096;
/// Memory that it says is free.
const MEMORY_BYTES: usize = 1 << 30;
/// Shared memory that it says a block may take: that of compute capability 9.0.
const BLOCK_BYTES: usize = 227 << 10;
/// Where memory may begin.
const ALIGNMENT: usize = 256;

/// A loaded library.
#[derive(Debug, Clone, Copy)]
struct Library(*mut c_void);

// SAFETY: a library stays loaded, and its kernels keep nothing of their own but in the thread that runs them.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// Libraries of all sources, each with its head width.
#[derive(Debug)]
pub struct Emulation {
    libraries: BTreeMap<(&'static str, usize), Library>,
    memory: Mutex<Memory>,
    gathering: Mutex<Gathering<()>>,
}

/// What was given and not given back.
#[derive(Debug, Default)]
struct Memory {
    /// Each with the bytes that were asked for.
    pages: BTreeMap<Address, (Pages, usize)>,
    bytes: usize,
    largest: usize,
}

/// A mapping whose first and last page can't be accessed, so that emulated kernels stay within.
#[derive(Debug)]
pub struct Pages {
    mapping: usize,
    /// Of the whole mapping.
    bytes: usize,
}

impl Pages {
    /// So many whole pages, which can be written.
    pub fn new(bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(PAGE_BYTES), "{bytes} bytes, which are not whole pages");
        let all = bytes + 2 * PAGE_BYTES;
        // SAFETY: a new private mapping.
        let mapping = unsafe {
            libc::mmap(ptr::null_mut(), all, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(mapping, libc::MAP_FAILED, "{all} bytes of memory");
        let pages = Self { mapping: mapping as usize, bytes: all };
        // SAFETY: whole pages of the mapping.
        let opened = unsafe { libc::mprotect(pages.first().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(opened, 0, "memory that can be written");
        pages
    }

    /// Where what can be written begins.
    pub fn first(&self) -> *mut u8 {
        (self.mapping + PAGE_BYTES) as *mut u8
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own.
        unsafe { libc::munmap(self.mapping as *mut c_void, self.bytes) };
    }
}

impl Emulation {
    /// Builds into `directory` what is not there yet, for models with heads of these widths.
    ///
    /// # Panics
    /// When there is no C++ compiler, or it refuses a source.
    pub fn build(directory: &Path, head_widths: &[usize]) -> Self {
        fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let by_width = |source: &'static Source| {
            let widths = if source.width == Width::Head { head_widths } else { &[0] };
            widths.iter().map(move |&width| (source, width))
        };
        let wanted: Vec<(&'static Source, usize)> = SOURCES.iter().flat_map(by_width).collect();
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
            ((source.name, width), Library(library))
        };
        let libraries = wanted.into_iter().map(open).collect();
        Self { libraries, memory: Mutex::default(), gathering: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Most bytes that were in use at a time since the last call.
    pub fn largest_bytes(&self) -> usize {
        let mut memory = self.memory();
        let now = memory.bytes;
        std::mem::replace(&mut memory.largest, now)
    }

    /// Runs a kernel of a source for one head width, 0 where it is for any; `turns` below 3 is the order of the threads.
    ///
    /// # Safety
    /// As [`super::machine::Machine::start`], with memory of the host.
    pub unsafe fn run(&self, head_width: usize, launch: &Launch, arguments: &mut [*mut c_void], turns: usize) {
        let source = source_of(launch.kernel);
        let head_width = if source.width == Width::Head { head_width } else { 0 };
        let Library(library) = self.libraries[&(source.name, head_width)];
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

impl Start for Emulation {
    type Graph = ();

    fn start_one(&self, asked: &Asked) -> Result<(), Unusable> {
        match asked {
            Asked::Kernel { head_width, launch, arguments } => {
                let mut arguments = arguments.clone();
                let (mut pointers, count) = arguments.pointers();
                // SAFETY: whoever asked vouched for the arguments.
                unsafe { self.run(*head_width, launch, &mut pointers[..count], 0) };
            }
            // SAFETY: whoever asked vouched for the matrices.
            Asked::Product(product) => unsafe { multiply(product) },
        }
        Ok(())
    }

    fn record(&self, _: &[Asked]) -> Result<(), Unusable> {
        Ok(())
    }

    /// The step as it was kept.
    fn repeat(&self, (): &(), step: &[Asked]) -> Result<(), Unusable> {
        step.iter().try_for_each(|asked| self.start_one(asked))
    }
}

impl Direct for Emulation {
    fn gathering(&self) -> MutexGuard<'_, Gathering<()>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, bytes: usize) -> Result<Address, Unusable> {
        let around = bytes.next_multiple_of(PAGE_BYTES);
        let pages = Pages::new(around);
        // Not a number in any format.
        // SAFETY: all of it can be written.
        unsafe { ptr::write_bytes(pages.first(), 0xff, around) };
        let start = (pages.first() as usize + around - bytes.next_multiple_of(ALIGNMENT)) as Address;
        let mut memory = self.memory();
        memory.pages.insert(start, (pages, bytes));
        memory.bytes += bytes;
        memory.largest = memory.largest.max(memory.bytes);
        Ok(start)
    }

    fn free_bytes(&self) -> Result<usize, Unusable> {
        Ok(MEMORY_BYTES)
    }

    fn block_bytes_max(&self) -> Result<usize, Unusable> {
        Ok(BLOCK_BYTES)
    }

    unsafe fn free(&self, memory: Address) {
        let mut all = self.memory();
        if let Some((_, bytes)) = all.pages.remove(&memory) {
            all.bytes -= bytes;
        }
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Unusable> {
        // SAFETY: the caller vouches for the memory, which is no other's.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
        Ok(())
    }

    unsafe fn download(&self, bytes: &mut [u8], from: Address) -> Result<(), Unusable> {
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), Unusable> {
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn clear(&self, memory: Address, bytes: usize) -> Result<(), Unusable> {
        // SAFETY: as above.
        unsafe { ptr::write_bytes(memory as *mut u8, 0, bytes) };
        Ok(())
    }
}

/// A product as a plain loop.
///
/// # Safety
/// As [`super::machine::Machine::multiply`], with memory of the host.
unsafe fn multiply(product: &Product) {
    let &Product { out, base, left, right, rows, columns, inner } = product;
    // SAFETY: the caller vouches for sides and result as long as the shape says; nobody else has them.
    let (left_values, right_values, out) = unsafe {
        (
            slice::from_raw_parts(left.start as *const Bf16, length(left, [rows, inner])),
            slice::from_raw_parts(right.start as *const Bf16, length(right, [inner, columns])),
            slice::from_raw_parts_mut(out as *mut f32, rows * columns),
        )
    };
    match base {
        // SAFETY: as above; the copy may be of the result itself.
        Some(base) => unsafe { ptr::copy(base as *const f32, out.as_mut_ptr(), out.len()) },
        None => out.fill(0.0),
    }
    let (left_rows, right_rows) =
        (by_row(left_values, left, [rows, inner]), by_row(right_values, right, [inner, columns]));
    for (out, left) in out.chunks_exact_mut(columns).zip(left_rows.chunks_exact(inner)) {
        let mut sums = vec![0.0; columns];
        for (&factor, right) in left.iter().zip(right_rows.chunks_exact(columns)) {
            sums.iter_mut().zip(right).for_each(|(sum, &other)| *sum += factor * other);
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
    }
}

/// Numbers from the first of a side to its last.
fn length(side: Side, [rows, columns]: [usize; 2]) -> usize {
    let [rows, columns] = if side.is_transposed { [columns, rows] } else { [rows, columns] };
    (rows - 1) * side.stride + columns
}

/// A side of a product as its rows, in f32.
fn by_row(values: &[Bf16], side: Side, [rows, columns]: [usize; 2]) -> Vec<f32> {
    let place = |row: usize, column: usize| row * side.stride + column;
    let at = |row, column| if side.is_transposed { place(column, row) } else { place(row, column) };
    let wide = |value: Bf16| f32::from_bits(u32::from(value) << 16);
    (0..rows).flat_map(|row| (0..columns).map(move |column| wide(values[at(row, column)]))).collect()
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
