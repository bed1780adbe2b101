//! How long to wait before a request is made again. Waiting is the caller's.

use std::time::{Duration, UNIX_EPOCH};

use ureq::http::{HeaderMap, header::RETRY_AFTER};

use crate::machine;

/// Longest wait that is chosen here, seconds.
const WAIT_SECONDS_MAX: f64 = 60.0;

/// Longest wait that a server may ask for, seconds.
const ASKED_SECONDS_MAX: f64 = 600.0;

/// Exponential back-off with jitter ("Exponential Backoff And Jitter", AWS Architecture Blog 2015, its equal jitter).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BackOff {
    /// Times that a request is made again.
    pub(crate) retries: u32,
    /// Longest wait before the first of them, seconds.
    pub(crate) first_seconds: f64,
}

impl BackOff {
    /// Seconds to wait before retry number `retry`, from 0: between half of first·2^retry, at most a minute, and all of
    /// it, by `uniform` in [0, 1); never less than the server asks for.
    pub(crate) fn wait_seconds(&self, retry: u32, asked_seconds: Option<f64>, uniform: f64) -> f64 {
        let full = (self.first_seconds * f64::from(retry.min(64)).exp2()).min(WAIT_SECONDS_MAX);
        let drawn = full * (0.5 + uniform / 2.0);
        asked_seconds.map_or(drawn, |asked| asked.max(drawn))
    }
}

/// Seconds that an answer with these headers asks to wait from now on; `None` where it asks for no wait.
pub(crate) fn asked_seconds(headers: &HeaderMap) -> Option<f64> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?;
    retry_after_seconds(asked, machine::unix_seconds()).filter(|seconds| *seconds > 0.0)
}

/// What is said of a server that asks for a longer wait than any made here.
pub(crate) fn too_long(asked_seconds: f64) -> Option<String> {
    let said = || format!("it asks to wait {asked_seconds:.0} seconds, and {ASKED_SECONDS_MAX} are waited at most");
    (asked_seconds > ASKED_SECONDS_MAX).then(said)
}

/// Seconds that a `Retry-After` header asks to wait at `unix_seconds`: a number, or a date (RFC 9110, section 10.2.3).
/// `None` where it is neither.
fn retry_after_seconds(header: &str, unix_seconds: u64) -> Option<f64> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then_some(seconds);
    }
    let date = httpdate::parse_http_date(header).ok()?;
    let now = UNIX_EPOCH + Duration::from_secs(unix_seconds);
    Some(date.duration_since(now).map_or(0.0, |wait| wait.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_are_drawn_from_their_upper_half() {
        let back_off = BackOff { retries: 9, first_seconds: 1.0 };
        for (retry, asked, uniform, expected) in [
            (0, None, 0.0, 0.5),
            (0, None, 0.5, 0.75),
            (1, None, 0.0, 1.0),
            (3, None, 0.5, 6.0),
            (6, None, 0.0, 30.0),
            (u32::MAX, None, 0.0, 30.0),
            (0, Some(7.0), 0.5, 7.0),
            (4, Some(7.0), 0.0, 8.0),
        ] {
            let wait = back_off.wait_seconds(retry, asked, uniform);
            assert!((wait - expected).abs() < 1e-12, "retry {retry}: {wait} is not {expected}");
        }
    }

    #[test]
    fn a_server_asks_to_wait_in_seconds_or_until_a_date() {
        // RFC 9110's date is 784,111,777 seconds after 1970.
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (header, now, expected) in [
            ("120", 0, Some(120.0)),
            (" 0.5 ", 0, Some(0.5)),
            (date, 784_111_767, Some(10.0)),
            (date, 784_111_778, Some(0.0)),
            ("-1", 0, None),
            ("inf", 0, None),
            ("soon", 0, None),
        ] {
            assert_eq!(retry_after_seconds(header, now), expected, "{header}");
        }
    }
}
