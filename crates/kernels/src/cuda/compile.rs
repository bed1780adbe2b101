//! From a source to machine code for one architecture, by NVRTC, and what the compiler says of each kernel.

use std::{
    ffi::{CString, c_char, c_int},
    fmt, ptr,
};

use cudarc::nvrtc::{
    result::NvrtcError,
    sys::{self, nvrtcProgram, nvrtcResult},
};

use super::{
    Unusable, Version, compiler_version,
    sources::{HEADERS, Source, definitions},
};

/// Machine code of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The file that the driver loads.
    pub cubin: Vec<u8>,
    /// What the compiler said, ptxas included; nothing where the code was kept.
    pub log: String,
}

/// Why there is no machine code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// NVRTC can't be used.
    Unusable(Unusable),
    /// NVRTC refused a call or the source: which, its code, and its log.
    Refused(&'static str, NvrtcError, String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(fault) => write!(formatter, "{fault}; {}", fault.remedy()),
            Self::Refused(call, NvrtcError(code), log) => write!(formatter, "NVRTC refused {call} ({code:?})\n{log}"),
        }
    }
}

impl std::error::Error for CompileError {}

/// A program of NVRTC, which is destroyed when it goes.
struct Program(nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program was created and nothing refers to it any more.
        let _ = unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
    }
}

/// What machine code is made of, with an NVRTC that was found.
pub(super) struct Recipe<'a> {
    source: &'a Source,
    options: Vec<String>,
    compiler: Version,
}

/// Compiles `source` for `architecture` (`sm_80`, `sm_90a` …) and, where it needs one, for heads of `head_width`.
///
/// # Errors
/// When NVRTC is missing, or refuses the source.
pub fn compile(source: &Source, architecture: &str, head_width: usize) -> Result<Compiled, CompileError> {
    Recipe::new(source, architecture, head_width)?.compile()
}

impl<'a> Recipe<'a> {
    pub(super) fn new(source: &'a Source, architecture: &str, head_width: usize) -> Result<Self, CompileError> {
        let compiler = compiler_version().map_err(CompileError::Unusable)?;
        let mut options = definitions(source, head_width);
        options.push(format!("--gpu-architecture={architecture}"));
        // What is not written as one instruction is rounded twice, as in the checks without a card.
        options.extend(["--std=c++17", "--fmad=false", "--ptxas-options=-v"].map(str::to_owned));
        Ok(Self { source, options, compiler })
    }

    /// All that decides the code, as text.
    pub(super) fn ingredients(&self) -> String {
        let files = HEADERS.into_iter().chain([(self.source.name, self.source.text)]);
        let files: String = files.flat_map(|(name, text)| ["// ", name, "\n", text, "\n"]).collect();
        format!("// NVRTC {} {}\n{files}", self.compiler, self.options.join(" "))
    }

    pub(super) fn compile(&self) -> Result<Compiled, CompileError> {
        let text = |text: &str| CString::new(text).expect("sources and options hold no zero byte");
        let number = |count: usize| c_int::try_from(count).expect("a few headers and options");
        let headers = HEADERS.map(|(name, header)| (text(name), text(header)));
        let names = headers.each_ref().map(|(name, _)| name.as_ptr());
        let contents = headers.each_ref().map(|(_, header)| header.as_ptr());
        let (own, name) = (text(self.source.text), text(self.source.name));
        let mut program = Program(ptr::null_mut());
        // SAFETY: NVRTC was found; all strings end with a zero byte and live longer than the program.
        let created = unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program.0,
                own.as_ptr(),
                name.as_ptr(),
                number(headers.len()),
                contents.as_ptr(),
                names.as_ptr(),
            )
        };
        done("to create a program", created, String::new)?;
        let options: Vec<CString> = self.options.iter().map(|option| text(option)).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program was created; the options live longer than the call.
        let compiled = unsafe { sys::nvrtcCompileProgram(program.0, number(pointers.len()), pointers.as_ptr()) };
        let log = bytes(&program, sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog, "its log")?;
        let log = String::from_utf8_lossy(log.strip_suffix(b"\0").unwrap_or(&log)).into_owned();
        done(self.source.name, compiled, || log.clone())?;
        let cubin = bytes(&program, sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN, "the machine code")?;
        Ok(Compiled { cubin, log })
    }
}

fn done(call: &'static str, answer: nvrtcResult, log: impl FnOnce() -> String) -> Result<(), CompileError> {
    answer.result().map_err(|error| CompileError::Refused(call, error, log()))
}

type Size = unsafe fn(nvrtcProgram, *mut usize) -> nvrtcResult;
type Fill = unsafe fn(nvrtcProgram, *mut c_char) -> nvrtcResult;

/// Bytes that one call counts and the other writes.
fn bytes(program: &Program, size: Size, fill: Fill, what: &'static str) -> Result<Vec<u8>, CompileError> {
    let mut count = 0;
    // SAFETY: the program was created; one number is written.
    done(what, unsafe { size(program.0, &raw mut count) }, String::new)?;
    let mut bytes = vec![0_u8; count];
    // SAFETY: as many bytes are written as were counted.
    done(what, unsafe { fill(program.0, bytes.as_mut_ptr().cast()) }, String::new)?;
    Ok(bytes)
}

/// What a kernel takes of a card, from the compiler's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The kernel.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: usize,
    /// Bytes of a thread that do not fit registers and lie in the card's memory.
    pub local_bytes: usize,
    /// Bytes that are written there and read again for want of registers.
    pub spilled_bytes: usize,
}

impl Compiled {
    /// What each kernel takes, in the log's order.
    pub fn usages(&self) -> Vec<Usage> {
        let mut usages: Vec<Usage> = Vec::new();
        for line in self.log.lines() {
            let before = |what: &str| line.split(what).next().and_then(last_number).filter(|_| line.contains(what));
            if let Some((_, rest)) = line.split_once("Compiling entry function '") {
                let kernel = rest.split('\'').next().unwrap_or_default().to_owned();
                usages.push(Usage { kernel, registers: 0, local_bytes: 0, spilled_bytes: 0 });
            }
            let Some(usage) = usages.last_mut() else { continue };
            usage.registers = before(" registers").unwrap_or(usage.registers);
            usage.local_bytes = before(" bytes stack frame").unwrap_or(usage.local_bytes);
            let spilled = before(" bytes spill stores").zip(before(" bytes spill loads"));
            usage.spilled_bytes = spilled.map_or(usage.spilled_bytes, |(stores, loads)| stores + loads);
        }
        usages
    }

    /// The lines that warn.
    pub fn warnings(&self) -> Vec<&str> {
        self.log.lines().filter(|line| line.to_lowercase().contains("warning")).collect()
    }
}

fn last_number(text: &str) -> Option<usize> {
    text.rsplit(|character: char| !character.is_ascii_digit()).find(|word| !word.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ptxas_says_is_read() {
        // As NVRTC 12.9 writes it.
        let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k' for 'sm_80'
ptxas info    : Function properties for k
ptxas         .     256 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 256 bytes cumulative stack size, 368 bytes cmem[0]
ptxas info    : Compile time = 31.970 ms
k.cu(6): warning #177-D: variable \"q\" was declared but never referenced
ptxas info    : Compiling entry function 'other' for 'sm_80'
ptxas info    : Function properties for other
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 16 registers, used 0 barriers
";
        let compiled = Compiled { cubin: Vec::new(), log: log.to_owned() };
        let usage = |kernel: &str, registers, local_bytes, spilled_bytes| Usage {
            kernel: kernel.to_owned(),
            registers,
            local_bytes,
            spilled_bytes,
        };
        assert_eq!(compiled.usages(), [usage("k", 40, 256, 24), usage("other", 16, 0, 0)]);
        assert_eq!(compiled.warnings().len(), 1);
    }
}
