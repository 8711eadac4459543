import Glibc
import SystemPackage

/// How large a terminal is.
public enum TerminalSize {
    /// Its columns; nil where `descriptor` is no terminal, or one that does not know. The corresponding C constant is
    /// `TIOCGWINSZ`.
    public static func columns(of descriptor: FileDescriptor) -> Int? {
        var size = winsize()
        // Sound: the kernel fills the structure during the call.
        guard unsafe ioctl(descriptor.rawValue, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }
}
