package audit

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A frame is one record in a segment: magic, length of the payload, CRC-32C of length and payload
// (both little-endian, 32 bits), payload.
//
// The payload is JSON, which contains no byte below 0x20 but white space. The magic begins with a
// zero byte, so that it cannot occur in a payload: a search for it after damage finds the beginning
// of a record, and never a text that somebody made to look like one.
const frameHeader = 12

var (
	frameMagic = []byte{0x00, 'K', 'A', 0x01}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func frameSize(payload int) int64 { return int64(frameHeader + payload) }

// appendFrame appends the frame of payload, of 1 to maxFrame bytes.
func appendFrame(dst, payload []byte) []byte {
	dst = append(dst, frameMagic...)
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(dst[start:start+4], castagnoli), castagnoli, payload)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return append(dst, payload...)
}

// frameAt returns the payload of the frame that begins at off, nil when there is none.
func frameAt(buf []byte, off int) []byte {
	if len(buf)-off < frameHeader || !bytes.Equal(buf[off:off+4], frameMagic) {
		return nil
	}
	length := binary.LittleEndian.Uint32(buf[off+4:])
	if length == 0 || length > maxFrame || int64(length) > int64(len(buf)-off-frameHeader) {
		return nil
	}
	payload := buf[off+frameHeader : off+frameHeader+int(length)]
	sum := crc32.Update(crc32.Checksum(buf[off+4:off+8], castagnoli), castagnoli, payload)
	if sum != binary.LittleEndian.Uint32(buf[off+8:]) {
		return nil
	}
	return payload
}

// frames reads the records of one segment in order, stepping over damage.
type frames struct {
	buf []byte
	end int // just after the last record that was returned
	// damaged counts the bytes between records that belong to none.
	damaged int
}

// next returns the next payload, which lies in buf, or nil when there are no more records. What
// follows end is then a torn or damaged tail.
func (f *frames) next() []byte {
	for at := f.end; at < len(f.buf); at++ {
		i := bytes.Index(f.buf[at:], frameMagic)
		if i < 0 {
			return nil
		}
		at += i
		if payload := frameAt(f.buf, at); payload != nil {
			f.damaged += at - f.end
			f.end = at + frameHeader + len(payload)
			return payload
		}
	}
	return nil
}
