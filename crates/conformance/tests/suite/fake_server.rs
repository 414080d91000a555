//! Servers that are no database: they answer each connection with some bytes, or not at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Listens, and answers each connection with this function.
pub fn listen(answer: impl Fn(&mut TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || answer(&mut stream.unwrap()));
        }
    });
    port
}

/// Listens, and answers the first message of each connection with an error of the server.
pub fn reject(fields: &'static str) -> u16 {
    listen(|stream| {
        let _ = stream.read(&mut [0; 1000]);
        let length = fields.len() as u8 + 6;
        let _ =
            stream.write_all(&[&b"E\0\0\0"[..], &[length], fields.as_bytes(), b"\0\0"].concat());
    })
}
