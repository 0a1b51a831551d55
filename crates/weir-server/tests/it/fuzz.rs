//! Messages of the protocol cut, repeated, out of order and of any length: each connection hears errors that tell of its
//! own mistakes, and the server goes on for the others. The seeds are fixed.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};

use crate::attacks::wire::Format;
use crate::attacks::wire::{Answer, Wire, bind, describe, execute, message, parse, text};
use crate::weir::Weir;

const SEEDS: u64 = 100;

fn connect(address: std::net::SocketAddr) -> Wire {
    let parameters = [("user", "tara"), ("database", "weir")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Wire::connect(address, &parameters, "demo").map_err(|answer| answer.messages).unwrap().0
}

/// A conversation that makes sense.
fn sound() -> Vec<Vec<u8>> {
    let governed = "select id, ssn from retail.customer_purchases where id < $1 order by 1 limit 3";
    vec![
        message(b'Q', &text("select 1; select 2")),
        parse("a", governed),
        describe(b'S', "a"),
        bind("a", &["100".to_owned()], Format::Binary),
        describe(b'P', ""),
        execute(2),
        execute(0),
        message(b'S', &[]),
        message(b'Q', &text("begin")),
        message(b'Q', &text("declare c cursor for select value from generate_series(1, 10)")),
        message(b'Q', &text("fetch 3 from c")),
        message(b'C', &[b"S".to_vec(), text("a")].concat()),
        message(b'H', &[]),
        message(b'S', &[]),
        message(b'Q', &text("rollback")),
        message(b'd', b"copied"),
        message(b'F', &[0; 8]),
    ]
}

/// The same with mistakes in it.
fn unsound(random: &mut StdRng) -> Vec<u8> {
    let mut messages = sound();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..messages.len());
        match random.random_range(0..7) {
            0 => messages.shuffle(random),
            1 => messages.insert(at, messages.choose(random).unwrap().clone()),
            2 => drop(messages.remove(at)),
            // Cut, so that the next one is taken for its end.
            3 => {
                let length = random.random_range(0..=messages[at].len());
                messages[at].truncate(length);
            }
            // Another byte, of the kind, the length or the body.
            4 => {
                let place = random.random_range(0..messages[at].len().max(1));
                if let Some(byte) = messages[at].get_mut(place) {
                    *byte = random.random();
                }
            }
            // A length that is none.
            5 => {
                let length = *[0_u32, 3, 5, 0x3fff_fffe, 0x7fff_ffff, u32::MAX].choose(random).unwrap();
                if let Some(place) = messages[at].get_mut(1..5) {
                    place.copy_from_slice(&length.to_be_bytes());
                }
            }
            _ => {
                let mut noise = vec![0; random.random_range(1..40)];
                random.fill_bytes(&mut noise);
                messages.insert(at, noise);
            }
        }
        if messages.is_empty() {
            messages = sound();
        }
    }
    messages.concat()
}

fn is_clear(answer: &Answer) -> bool {
    answer.error.as_ref().is_none_or(|(code, text)| code.len() == 5 && code != "XX000" && !text.is_empty())
}

#[test]
fn mistakes_in_the_protocol_are_told_and_end_nothing_else() {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    let whole = connect(server.address).throw(&sound().concat());
    assert!(is_clear(&whole), "{:?}", whole.messages);
    let mut bystander = connect(server.address);
    let mut told = 0;
    for seed in 0..SEEDS {
        let bytes = unsound(&mut StdRng::seed_from_u64(seed));
        let answer = connect(server.address).throw(&bytes);
        assert!(is_clear(&answer), "seed {seed}: {:?}\n{bytes:?}", answer.messages);
        told += u64::from(answer.error.is_some());
        if seed % 50 == 0 {
            assert_eq!(bystander.simple("select 40 + 2").rows, [vec![Some(b"42".to_vec())]], "seed {seed}");
        }
    }
    assert!(told > 0, "no conversation heard an error");
    assert_eq!(bystander.simple("select 40 + 2").rows, [vec![Some(b"42".to_vec())]]);
}
