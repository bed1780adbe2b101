//! Work on several threads whose results come out in the order of what went in.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use anyhow::Result;

/// Gives each of `next`'s items to `work` on one of `threads` threads, and the results in order to `consume`.
///
/// Items go round the threads in turn and results are fetched in the same turn, so no more than four for each thread
/// are held at a time. The first failure ends it all; what `consume` was given before stays as it is.
pub(super) fn in_order<I: Send, O: Send>(
    threads: usize,
    mut next: impl FnMut() -> Result<Option<I>> + Send,
    work: impl Fn(I) -> O + Sync,
    consume: impl FnMut(O) -> Result<()>,
) -> Result<()> {
    assert!(threads > 0, "no threads");
    thread::scope(|scope| {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (to_worker, items) = sync_channel::<I>(1);
            let (results, from_worker) = sync_channel::<O>(1);
            let work = &work;
            // Nobody fetches results any more once consuming one has failed.
            scope.spawn(move || items.into_iter().all(|item| results.send(work(item)).is_ok()));
            inputs.push(to_worker);
            outputs.push(from_worker);
        }
        let reader = scope.spawn(move || deal(&inputs, &mut next));
        let consumed = outputs.iter().cycle().map_while(|output| output.recv().ok()).try_for_each(consume);
        drop(outputs);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        consumed.and(read)
    })
}

/// Deals items out in turn until there are no more, or nobody takes them any more.
fn deal<I>(inputs: &[SyncSender<I>], next: &mut impl FnMut() -> Result<Option<I>>) -> Result<()> {
    for input in inputs.iter().cycle() {
        let Some(item) = next()? else { break };
        if input.send(item).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_whatever_the_threads() {
        let expected: Vec<u64> = (0..1000).map(|item| item * item).collect();
        for threads in [1, 2, 7] {
            let mut items = 0..1000u64;
            let mut results = Vec::new();
            let consume = |result| {
                results.push(result);
                Ok(())
            };
            in_order(threads, || Ok(items.next()), |item| item * item, consume).unwrap();
            assert_eq!(results, expected, "{threads} threads");
        }
    }

    #[test]
    fn a_failure_on_either_side_ends_the_work_and_is_told() {
        let mut items = 0..;
        let consume = |result: i32| if result < 500 { Ok(()) } else { bail!("consumed {result}") };
        let failed = in_order(3, || Ok(items.next()), |item| item, consume);
        assert_eq!(failed.unwrap_err().to_string(), "consumed 500");

        let (mut items, mut consumed) = (0.., 0);
        let next = || items.next().map(|item| if item < 500 { Ok(item) } else { bail!("no item {item}") }).transpose();
        let consume = |_| {
            consumed += 1;
            Ok(())
        };
        assert_eq!(in_order(3, next, |item: i32| item, consume).unwrap_err().to_string(), "no item 500");
        assert_eq!(consumed, 500);
    }
}
