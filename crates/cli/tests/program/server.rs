//! A server with OpenAI's API that plays what a test asks for, well or badly, on a port of this machine.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Such as `POST /v1/completions HTTP/1.1`.
    pub(crate) line: String,
    /// Header lines in lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) body: Value,
    /// How often the same body had come in before.
    pub(crate) repeats: usize,
}

impl Received {
    /// The text that the completions are asked of: the prompt, or the last message.
    pub(crate) fn question(&self) -> String {
        let message = self.body["messages"].as_array().and_then(|messages| messages.last());
        let text = message.map_or(&self.body["prompt"], |message| &message["content"]);
        text.as_str().unwrap_or_default().to_owned()
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// An answer with this status, these further header lines and this body.
    Answer(u16, Vec<String>, Vec<u8>),
    /// The beginning of an answer whose `content-length` promises so many bytes; then the connection is closed.
    CutOff(usize, Vec<u8>),
    /// These bytes, head and all; then the connection is closed.
    Raw(Vec<u8>),
    /// The connection is closed without a word.
    HangUp,
    /// The beginning of an answer, and nothing more until the client has gone.
    Silence,
}

impl Play {
    pub(crate) fn json(value: &Value) -> Self {
        Self::Answer(200, vec!["content-type: application/json".to_owned()], value.to_string().into_bytes())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), b"try later".to_vec())
    }

    /// One completion in the form of the request's API, with the tokens that the server counts.
    pub(crate) fn completion(received: &Received, text: &str, tokens: u32) -> Self {
        let choice = if received.line.contains("/chat/") {
            json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"})
        } else {
            json!({"index": 0, "text": text, "finish_reason": "stop"})
        };
        Self::json(&json!({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": tokens}}))
    }
}

/// A running server. Its threads end with the test's program.
pub(crate) struct Server {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

type Script = dyn Fn(&Received) -> Play + Send + Sync;

impl Server {
    /// A server that does what `script` says.
    pub(crate) fn start(script: impl Fn(&Received) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, script): (_, Arc<Script>) = (Arc::clone(&received), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                // A client that goes away in the middle is no failure of the server.
                thread::spawn(move || drop(serve(&stream, &log, &script)));
            }
        });
        Self { port, received }
    }

    /// What `--engine` is given.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Everything that came in, in the order of arrival.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no thread failed").clone()
    }

    /// How many requests there were for each question.
    pub(crate) fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for received in self.received() {
            *asked.entry(received.question()).or_default() += 1;
        }
        asked
    }
}

/// Answers the requests of one connection, one after the other.
fn serve(stream: &TcpStream, log: &Mutex<Vec<Received>>, script: &Arc<Script>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(mut received) = receive(&mut reader)? {
        {
            let mut log = log.lock().expect("no thread failed");
            received.repeats = log.iter().filter(|earlier| earlier.body == received.body).count();
            log.push(received.clone());
        }
        match script(&received) {
            Play::Answer(status, headers, body) => {
                write!(writer, "HTTP/1.1 {status} Played\r\n")?;
                for header in headers {
                    write!(writer, "{header}\r\n")?;
                }
                write!(writer, "content-length: {}\r\n\r\n", body.len())?;
                writer.write_all(&body)?;
            }
            Play::CutOff(promised, body) => {
                write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: {promised}\r\n\r\n")?;
                writer.write_all(&body)?;
                return Ok(());
            }
            Play::Raw(bytes) => {
                writer.write_all(&bytes)?;
                return Ok(());
            }
            Play::HangUp => return Ok(()),
            Play::Silence => {
                write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{{\"choices\"")?;
                // Ends when the client closes the connection.
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next request; `None` when the client has closed the connection.
fn receive(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Received>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let line = lines.remove(0);
    let headers: Vec<String> = lines.iter().map(|line| line.to_lowercase()).collect();
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Some(Received { line, headers, body, repeats: 0 }))
}
