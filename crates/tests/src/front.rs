//! One address before several copies of a process, on this machine: what a load balancer
//! is elsewhere. A connection goes to the first copy that takes it.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// It listens until it is dropped.
pub struct Front(JoinHandle<()>);

impl Front {
    /// Listens at `at` for those who listen at `copies`: each connection begins with the
    /// next of them.
    pub async fn open(at: SocketAddr, copies: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        Ok(Self(tokio::spawn(async move {
            for first in (0..copies.len()).cycle() {
                // A machine that is out of connections has some again soon.
                let Ok((mut from, _)) = listener.accept().await else {
                    continue;
                };
                let mut copies = copies.clone();
                copies.rotate_left(first);
                tokio::spawn(async move {
                    let Some(mut to) = connect(&copies).await else {
                        return;
                    };
                    let _ = (from.set_nodelay(true), to.set_nodelay(true));
                    // Whoever ends it has ended it for both.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                });
            }
        })))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(copies: &[SocketAddr]) -> Option<TcpStream> {
    for copy in copies {
        if let Ok(connected) = TcpStream::connect(copy).await {
            return Some(connected);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_connection_goes_to_a_copy_that_is_there() {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (gone, there, at) = (bind().await, bind().await, bind().await);
        let address =
            |listener: &io::Result<TcpListener>| listener.as_ref().unwrap().local_addr().unwrap();
        let copies = vec![address(&gone), address(&there)];
        let at_address = address(&at);
        drop((gone, at));
        let _front = Front::open(at_address, copies).await.unwrap();
        let there = there.unwrap();
        for _ in 0..2 {
            let mut client = TcpStream::connect(at_address).await.unwrap();
            let (mut copy, _) = there.accept().await.unwrap();
            client.write_all(b"hello").await.unwrap();
            let mut heard = [0; 5];
            copy.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
            drop(copy);
            // The end of one is the end of the other.
            assert_eq!(client.read(&mut heard).await.unwrap_or(0), 0);
        }
    }
}
