// Prints the pipeline of each CSI camera named, or what is wrong with its address.
#include <cstdio>

#include "csi.h"
#include "error.h"

int main(int count, char** words) {
    for (int place = 1; place < count; ++place) {
        try {
            std::puts(edgedet::runner::csi_pipeline(words[place]).c_str());
        } catch (const edgedet::runner::Error& error) {
            std::puts(error.what());
        }
    }
    return 0;
}
