//! A file that is written while other things go on: what is given to it waits in memory until there is
//! enough for a write, and one write is under way at a time.

use crate::temp_file::{Failed, Made, Place, TempFile};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(super) struct Spool {
    /// Away while it is written to.
    file: Option<TempFile>,
    writing: Option<Writing>,
    made: Option<Arc<Made>>,
    /// Not written yet.
    pub waiting: Vec<u8>,
    /// Bytes in the file.
    pub written: u64,
    /// Bytes worth a write.
    pub enough: usize,
}

type Writing = Pin<Box<dyn Future<Output = Written>>>;

struct Written {
    file: TempFile,
    count: u64,
    bytes: Result<Vec<u8>, (Failed, Vec<u8>)>,
}

impl Spool {
    pub fn new(file: TempFile, enough: usize) -> Spool {
        Spool { file: Some(file), writing: None, made: None, waiting: Vec::new(), written: 0, enough }
    }

    /// Ready when no write is under way, nor due; `all` makes one due for the least that waits. What could not be
    /// written waits again.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn poll(&mut self, cx: &mut Context<'_>, all: bool) -> Poll<Result<(), Failed>> {
        loop {
            if let Some(writing) = &mut self.writing {
                let Poll::Ready(done) = writing.as_mut().poll(cx) else { return Poll::Pending };
                self.writing = None;
                self.made = done.file.made().cloned();
                self.file = Some(done.file);
                match done.bytes {
                    Ok(_) => self.written += done.count,
                    Err((failed, mut bytes)) => {
                        bytes.append(&mut self.waiting);
                        self.waiting = bytes;
                        return Poll::Ready(Err(failed));
                    }
                }
            }
            let due = self.waiting.len() >= if all { 1 } else { self.enough.max(1) };
            let Some(mut file) = self.file.take_if(|_| due) else { return Poll::Ready(Ok(())) };
            let bytes = std::mem::take(&mut self.waiting);
            self.writing = Some(Box::pin(async move {
                let count = bytes.len() as u64;
                let bytes = file.append(bytes).await;
                Written { file, count, bytes }
            }));
        }
    }

    /// Bytes in memory may go where they would have come from the file.
    pub fn is_idle(&self) -> bool {
        self.writing.is_none()
    }

    /// The file, as far as it is `written`.
    pub fn made(&self) -> Option<&Arc<Made>> {
        self.made.as_ref()
    }

    /// What was written goes to its place for good.
    pub async fn into_place(self, place: Place) -> Result<(), Failed> {
        match self.file {
            Some(file) => file.into_place(place).await,
            None => Ok(()),
        }
    }

    /// All of it was read: what comes next goes to a new file. Not to the beginning of this one, whose pages
    /// may still be on their way to the client.
    pub fn begin_anew(&mut self) {
        if let Some(file) = &mut self.file {
            *file = file.another();
            self.made = None;
            self.written = 0;
        }
    }
}
