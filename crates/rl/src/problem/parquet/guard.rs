//! The panics of a library that was given damaged bytes, made errors: the `parquet` crate asserts much of what a file says,
//! and a file is never trusted.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// Whether a panic of this thread is caught and told as an error.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, of which nothing is left when it panics; the error is what the panic said. Of such a panic nothing is printed;
/// whatever else prints panics goes on to print all others.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                others(panic);
            }
        }));
    });
    let before = IS_GUARDED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(before);
    done.map_err(|payload| said(payload.as_ref()))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let number = 7;
        assert_eq!(guarded(|| number), Ok(7));
        let panics: [(fn(), &str); 3] = [
            (|| panic!("size <= {}", 7), "size <= 7"),
            (|| panic!("plain"), "plain"),
            (|| panic::panic_any(7), "a panic without a word"),
        ];
        for (work, expected) in panics {
            assert_eq!(guarded(work), Err(expected.to_owned()));
        }
        assert!(!IS_GUARDED.get());
    }
}
